//! The userinfo endpoint (OpenID Connect Core 1.0 §5.3).

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use oidc::userinfo::{self, UserinfoRequest};

use super::exchange::Exchange;
use super::{cors, error};

/// Answers with the claims that the access token releases.
pub(crate) async fn respond(exchange: &Exchange<'_>) -> HttpResponse {
    let posted = exchange.request.method() == Method::POST && !exchange.body.is_empty();
    let request = UserinfoRequest {
        authorization: exchange.header(&header::AUTHORIZATION),
        form: posted.then_some(&exchange.body),
    };
    match userinfo::respond(&exchange.context(), request).await {
        Ok(userinfo) => {
            let mut response = error::json_ok(&userinfo.claims);
            response.extensions_mut().insert(cors::About(userinfo.client_id));
            response
        }
        Err(failure) => error::userinfo(exchange, &failure),
    }
}
