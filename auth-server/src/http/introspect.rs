//! The introspection endpoint (RFC 7662).

use actix_web::HttpResponse;
use actix_web::http::header;

use super::error;
use super::exchange::Exchange;

/// Answers whether a token is live, and what it says.
pub(crate) async fn respond(exchange: &Exchange<'_>) -> HttpResponse {
    let authorization = exchange.header(&header::AUTHORIZATION);
    match oidc::introspection::respond(&exchange.context(), authorization, &exchange.body).await {
        Ok(introspection) => error::json_ok(&introspection),
        Err(failure) => error::token(exchange, &failure),
    }
}
