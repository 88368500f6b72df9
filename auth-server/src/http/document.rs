//! Discovery and JWKS: bytes that were serialised once, revalidated by their entity tag.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use oidc::document::Document;

use super::exchange::Exchange;
use super::route::Route;

/// OpenID Connect Discovery 1.0 §4.
pub(crate) fn discovery(exchange: &Exchange<'_>, route: &Route) -> HttpResponse {
    answer(exchange, exchange.served.discovery(), route)
}

/// RFC 8414 §3: the same document.
pub(crate) fn authorization_server(exchange: &Exchange<'_>, route: &Route) -> HttpResponse {
    answer(exchange, exchange.served.discovery(), route)
}

/// RFC 7517 §5.
pub(crate) fn jwks(exchange: &Exchange<'_>, route: &Route) -> HttpResponse {
    answer(exchange, exchange.served.jwks(), route)
}

fn answer(exchange: &Exchange<'_>, document: &Document, route: &Route) -> HttpResponse {
    let known = exchange.header(&header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == &*document.etag || tag.trim() == "*")
    });
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static(route.cache.header())))
        .insert_header((header::ETAG, &*document.etag));
    if known {
        return response.finish();
    }
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .body(Bytes::from_owner(Arc::clone(&document.body)))
}
