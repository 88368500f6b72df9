//! CORS: scripts of which origins may call an endpoint and read its answer.
//!
//! A preflight names no client and is answered for the union of the realm's origins; an answer is readable only for the
//! origins of the client that it is about.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use oidc::client_authentication::claimed_client;
use oidc::served::ServedRealm;

use super::exchange::Exchange;
use super::origin::single;
use super::route::{Readers, Route};

/// How long a browser may remember a preflight.
const PREFLIGHT_AGE: &str = "600";

/// The client that an answer is about, where only the endpoint knows it; kept with the response.
pub(crate) struct About(pub(crate) String);

/// The answer to a preflight.
pub(crate) fn preflight(request: &HttpRequest, served: &ServedRealm, route: &Route) -> HttpResponse {
    let mut response = HttpResponse::NoContent()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish();
    let allowed = |origin: &str| oidc::cors::preflight_allowed(served, origin);
    if allow(
        single(request.headers(), &header::ORIGIN),
        route,
        allowed,
        &mut response,
    ) {
        let headers = response.headers_mut();
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
    }
    response
}

/// Marks an answer as readable where it is.
pub(crate) fn readable(exchange: &Exchange<'_>, route: &Route, response: &mut HttpResponse) {
    let about = response.extensions_mut().remove::<About>();
    let allowed = |origin: &str| {
        let context = exchange.context();
        let client = match &about {
            Some(About(client_id)) => exchange.served.client(client_id),
            None => claimed_client(&context, exchange.header(&header::AUTHORIZATION), &exchange.body),
        };
        client.is_some_and(|client| oidc::cors::allowed(client, origin))
    };
    if allow(exchange.header(&header::ORIGIN), route, allowed, response) {
        let exposed = HeaderValue::from_static("www-authenticate, retry-after");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn allow(origin: Option<&str>, route: &Route, allowed: impl Fn(&str) -> bool, response: &mut HttpResponse) -> bool {
    let headers = response.headers_mut();
    match route.endpoint.readable_by() {
        Readers::SameOrigin => false,
        Readers::Everybody => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            true
        }
        Readers::AllowedOrigins => {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            match origin.filter(|origin| allowed(origin)).map(HeaderValue::from_str) {
                Some(Ok(origin)) => {
                    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                    true
                }
                Some(Err(_)) | None => false,
            }
        }
    }
}
