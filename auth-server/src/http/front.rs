//! The endpoints that browsers visit with a GET or with a form we rendered, but for sign-in and sign-out.

use actix_web::HttpResponse;
use oidc::front_channel::FrontChannel;
use oidc::parameters::Parameters;
use oidc::{account_choice, authorize, consent};

use super::exchange::{Exchange, random};
use super::page;

/// The authorization endpoint (RFC 6749 §3.1).
pub(crate) async fn authorize(exchange: &Exchange<'_>) -> HttpResponse {
    let parameters = match parameters(exchange) {
        Ok(parameters) => parameters,
        Err(refused) => return page::front_channel(exchange, *refused),
    };
    let answer = authorize::respond(&exchange.context(), &exchange.browser(), &parameters, &mut random()).await;
    page::front_channel(exchange, answer)
}

/// A decision on the consent page.
pub(crate) async fn consent(exchange: &Exchange<'_>) -> HttpResponse {
    let parameters = match parameters(exchange) {
        Ok(parameters) => parameters,
        Err(refused) => return page::front_channel(exchange, *refused),
    };
    let answer = consent::decide(&exchange.context(), &exchange.browser(), &parameters, &mut random()).await;
    page::front_channel(exchange, answer)
}

/// A choice on the account page.
pub(crate) async fn choose_account(exchange: &Exchange<'_>) -> HttpResponse {
    let parameters = match parameters(exchange) {
        Ok(parameters) => parameters,
        Err(refused) => return page::front_channel(exchange, *refused),
    };
    let answer = account_choice::choose(&exchange.context(), &exchange.browser(), &parameters, &mut random()).await;
    page::front_channel(exchange, answer)
}

/// The parameters of a browser's request; what cannot be read is explained on a page, for no address is proven yet.
pub(crate) fn parameters(exchange: &Exchange<'_>) -> Result<Parameters, Box<FrontChannel>> {
    Parameters::parse(exchange.parameters()).map_err(|error| Box::new(FrontChannel::malformed(&error)))
}
