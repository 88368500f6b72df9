//! The token endpoint (RFC 6749 §3.2).

use actix_web::HttpResponse;
use actix_web::http::header;
use oidc::token::{self, TokenRequest};

use super::error;
use super::exchange::{Exchange, random};

/// Answers a token request.
pub(crate) async fn respond(exchange: &Exchange<'_>) -> HttpResponse {
    let mut random = random();
    let request = TokenRequest {
        authorization: exchange.header(&header::AUTHORIZATION),
        body: &exchange.body,
        request: exchange.id,
    };
    match token::respond(&exchange.context(), &mut random, request).await {
        Ok(response) => error::json_ok(&response),
        Err(failure) => error::token(exchange, &failure),
    }
}
