//! Static files: the pages' own assets, and the logos of realms and clients from their own origin.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use oidc::config::Logo;

use super::error;
use super::exchange::Exchange;
use super::route::Route;
use crate::pages;

/// A stylesheet or script of the pages.
pub(crate) fn asset(request: &HttpRequest, path: &str) -> HttpResponse {
    match pages::assets::lookup(path) {
        Some(asset) => {
            let mut response = HttpResponse::Ok();
            response
                .insert_header((header::CONTENT_TYPE, asset.content_type))
                .insert_header((header::CACHE_CONTROL, pages::assets::IMMUTABLE))
                .insert_header((header::ETAG, asset.etag));
            response.body(asset.bytes)
        }
        None => not_found(request),
    }
}

/// The realm's logo, under its hash.
pub(crate) fn realm_logo(exchange: &Exchange<'_>, route: &Route, hash: &str) -> HttpResponse {
    let look = exchange.look();
    match &exchange.served.realm.branding.logo {
        Some(logo) if look.logo_hash.as_deref() == Some(hash) => image(logo, route),
        Some(_) | None => not_found(exchange.request),
    }
}

/// A client's logo, under its id.
pub(crate) fn client_logo(exchange: &Exchange<'_>, route: &Route, id: &str) -> HttpResponse {
    let id = url::form_urlencoded::parse(id.as_bytes())
        .next()
        .map(|(id, _)| id.into_owned())
        .unwrap_or_default();
    match exchange.served.client(&id).and_then(|client| client.logo.as_deref()) {
        Some(logo) => image(logo, route),
        None => not_found(exchange.request),
    }
}

fn image(logo: &Logo, route: &Route) -> HttpResponse {
    // An SVG opened by itself must not run: no scripts, no requests, no frames, an origin of its own.
    let policy =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'");
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, logo.media_type.as_str()))
        .insert_header((header::CACHE_CONTROL, route.cache.header()))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(logo.bytes.to_vec())
}

/// An address that belongs to no realm: an asset of the page that says so, or that page.
pub(crate) fn outside(request: &HttpRequest) -> HttpResponse {
    match request.path().strip_prefix("/assets/") {
        Some(path) => asset(request, path),
        None => not_found(request),
    }
}

/// Nothing is served there: a page for browsers, JSON for programs.
fn not_found(request: &HttpRequest) -> HttpResponse {
    let accept = super::origin::single(request.headers(), &header::ACCEPT).unwrap_or_default();
    if !accept.contains("text/html") {
        return error::not_found();
    }
    let language = super::origin::single(request.headers(), &header::ACCEPT_LANGUAGE);
    let (look, nonce) = (pages::RealmLook::nauthera(), super::exchange::nonce());
    let shared = pages::Shared {
        realm: &look,
        locale: pages::negotiate(None, language, &pages::Locale::ALL),
        nonce: &nonce,
        base_path: "",
    };
    let view = pages::ErrorView {
        kind: pages::ErrorKind::NotFound,
        error_id: "",
        details: &[],
        back: None,
    };
    error::page_not_found().html(pages::error(&shared, &view), &pages::csp(&nonce, None))
}
