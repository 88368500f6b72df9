//! The userinfo endpoint (OpenID Connect Core 1.0 §5.3).

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use oidc::userinfo::{self, UserinfoRequest};

use super::error;
use super::exchange::Exchange;

/// Answers with the claims that the access token releases.
pub(crate) async fn respond(exchange: Exchange<'_>) -> HttpResponse {
    let posted = exchange.request.method() == Method::POST && !exchange.body.is_empty();
    let request = UserinfoRequest {
        authorization: exchange.header(&header::AUTHORIZATION),
        form: posted.then_some(&exchange.body),
    };
    match userinfo::respond(&exchange.context(), request).await {
        Ok(userinfo) => error::json_ok(&userinfo.claims),
        Err(failure) => error::userinfo(&exchange, &failure),
    }
}
