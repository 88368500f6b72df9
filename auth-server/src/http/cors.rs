//! CORS: scripts of which origins may call an endpoint and read its answer.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use oidc::served::ServedRealm;

use super::origin::single;
use super::route::{Readers, Route};

/// How long a browser may remember a preflight.
const PREFLIGHT_AGE: &str = "600";

/// The answer to a preflight.
pub(crate) fn preflight(request: &HttpRequest, served: &ServedRealm, route: &Route) -> HttpResponse {
    let mut response = HttpResponse::NoContent()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish();
    if allow(request, served, route, &mut response) {
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
pub(crate) fn readable(request: &HttpRequest, served: &ServedRealm, route: &Route, response: &mut HttpResponse) {
    if allow(request, served, route, response) {
        let exposed = HeaderValue::from_static("www-authenticate, retry-after");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn allow(request: &HttpRequest, served: &ServedRealm, route: &Route, response: &mut HttpResponse) -> bool {
    let headers = response.headers_mut();
    match route.endpoint.readable_by() {
        Readers::SameOrigin => false,
        Readers::Everybody => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            true
        }
        Readers::AllowedOrigins => {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            let origin = single(request.headers(), &header::ORIGIN);
            match origin
                .filter(|origin| oidc::cors::preflight_allowed(served, origin))
                .map(HeaderValue::from_str)
            {
                Some(Ok(origin)) => {
                    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                    true
                }
                Some(Err(_)) | None => false,
            }
        }
    }
}
