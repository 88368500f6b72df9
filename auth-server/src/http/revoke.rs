//! The revocation endpoint (RFC 7009).

use actix_web::HttpResponse;
use actix_web::http::header;

use super::error;
use super::exchange::Exchange;

/// Revokes a token of the calling client; an unknown one is as good as revoked.
pub(crate) async fn respond(exchange: &Exchange<'_>) -> HttpResponse {
    let authorization = exchange.header(&header::AUTHORIZATION);
    match oidc::token_revocation::respond(&exchange.context(), authorization, &exchange.body).await {
        Ok(()) => error::ok(),
        Err(failure) => error::token(exchange, &failure),
    }
}
