//! Sign-out (OpenID Connect RP-Initiated Logout 1.0).

use actix_web::HttpResponse;
use oidc::end_session;

use super::exchange::{Exchange, random};
use super::{front, page};

/// The end-session endpoint.
pub(crate) async fn request(exchange: &Exchange<'_>) -> HttpResponse {
    let parameters = match front::parameters(exchange) {
        Ok(parameters) => parameters,
        Err(refused) => return page::front_channel(exchange, *refused),
    };
    let answer = end_session::respond(&exchange.context(), &exchange.browser(), &parameters, &mut random()).await;
    page::front_channel(exchange, answer)
}

/// The person confirmed.
pub(crate) async fn confirm(exchange: &Exchange<'_>) -> HttpResponse {
    let parameters = match front::parameters(exchange) {
        Ok(parameters) => parameters,
        Err(refused) => return page::front_channel(exchange, *refused),
    };
    let answer = end_session::confirm(&exchange.context(), &exchange.browser(), &parameters, &mut random()).await;
    page::front_channel(exchange, answer)
}
