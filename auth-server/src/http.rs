//! HTTP: finds the realm and the route of a request, reads it within limits, and hands it to one endpoint.
//!
//! Nothing of the protocol is decided here. Status codes come from [`error`], headers that every answer carries from
//! [`headers`], paths from [`route`].

mod cors;
mod document;
mod end_session;
mod error;
mod exchange;
mod front;
mod headers;
mod introspect;
pub(crate) mod listen;
mod login;
mod look;
mod origin;
mod page;
pub(crate) mod probe;
mod revoke;
mod route;
mod static_file;
mod token;
mod userinfo;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::http::header;
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use futures::StreamExt as _;
use ipnet::IpNet;
use oidc::remembered::Remembered;
use oidc::revocation::Revocations;
use oidc::served::{Served, ServedRealm};

use crate::metrics::Metrics;
use crate::password::Hasher;
use crate::store::Database;
use error::Unread;
use exchange::Exchange;
use look::LookBook;
pub(crate) use route::Endpoint;
use route::Route;

/// Bytes of a request body that are read.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Time that a client has to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What all endpoints share.
pub(crate) struct Shell {
    pub(crate) served: Arc<ArcSwap<Served>>,
    pub(crate) store: Arc<dyn Database>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) hasher: Hasher,
    pub(crate) metrics: Metrics,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) max_staleness: Duration,
    pub(crate) looks: LookBook,
    pub(crate) remembered: Remembered,
}

impl Shell {
    /// What endpoints share, with no look computed yet.
    pub(crate) fn new(
        served: Arc<ArcSwap<Served>>,
        store: Arc<dyn Database>,
        revocations: Arc<Revocations>,
        hasher: Hasher,
        metrics: Metrics,
        settings: &crate::settings::Settings,
    ) -> Self {
        Self {
            served,
            store,
            revocations,
            hasher,
            metrics,
            trusted_proxies: settings.trusted_proxies.clone(),
            max_staleness: settings.max_staleness,
            looks: LookBook::default(),
            remembered: Remembered::default(),
        }
    }
}

/// Answers any request of the public listener.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, shell: web::Data<Shell>) -> HttpResponse {
    let began = Instant::now();
    let (endpoint, mut response, https) = answer(&request, payload, &shell).await;
    headers::protect(&mut response, https);
    let status = response.status().as_u16();
    shell.metrics.exchange(endpoint, status, began.elapsed());
    tracing::debug!(endpoint = endpoint.map(Endpoint::name), status, "answered");
    response
}

async fn answer(request: &HttpRequest, payload: web::Payload, shell: &Shell) -> (Option<Endpoint>, HttpResponse, bool) {
    let origin = origin::of(request, &shell.trusted_proxies);
    let Some((realm, route, tail)) = find(&shell.served.load(), &origin.authority, request.path()) else {
        return (None, static_file::outside(request), false);
    };
    let (endpoint, https) = (Some(route.endpoint), realm.realm.issuer.is_https());
    if request.method() == Method::OPTIONS {
        return (endpoint, cors::preflight(request, &realm, route), https);
    }
    let (body, unread) = match read(request, payload, route).await {
        Ok(body) => (body, None),
        Err(unread) => (Bytes::new(), Some(unread)),
    };
    let exchange = Exchange::new(shell, request, realm, origin, body);
    let mut response = match unread {
        None => dispatch(&exchange, route, tail).await,
        Some(unread) if route.endpoint.has_pages() => page::unread(&exchange, &unread),
        Some(unread) => unread.json(),
    };
    cors::readable(&exchange, route, &mut response);
    (endpoint, response, https)
}

/// The realm and the route of a path, and what follows a prefix.
fn find<'p>(served: &Served, authority: &str, path: &'p str) -> Option<(Arc<ServedRealm>, &'static Route, &'p str)> {
    well_known(served, authority, path).or_else(|| {
        let (realm, rest) = served.find(authority, path)?;
        let (route, tail) = route::find(rest)?;
        Some((Arc::clone(realm), route, tail))
    })
}

/// RFC 8414 §3: the well-known path stands between the host and the path of the issuer.
fn well_known<'p>(
    served: &Served,
    authority: &str,
    path: &'p str,
) -> Option<(Arc<ServedRealm>, &'static Route, &'p str)> {
    let issuer_path = path.strip_prefix(oidc::endpoint::OAUTH_AUTHORIZATION_SERVER)?;
    let (realm, rest) = served.find(authority, issuer_path)?;
    let (route, tail) = route::find(oidc::endpoint::OAUTH_AUTHORIZATION_SERVER)?;
    rest.is_empty().then(|| (Arc::clone(realm), route, tail))
}

async fn dispatch(exchange: &Exchange<'_>, route: &Route, tail: &str) -> HttpResponse {
    // What people visit is kept apart: room for it would be made, and copied, in each request of a program.
    match route.endpoint {
        Endpoint::Discovery => document::discovery(exchange, route),
        Endpoint::AuthorizationServerMetadata => document::authorization_server(exchange, route),
        Endpoint::Jwks => document::jwks(exchange, route),
        Endpoint::Authorize => Box::pin(front::authorize(exchange)).await,
        Endpoint::Consent => Box::pin(front::consent(exchange)).await,
        Endpoint::ChooseAccount => Box::pin(front::choose_account(exchange)).await,
        Endpoint::Login => Box::pin(login::submit(exchange)).await,
        Endpoint::EndSession => Box::pin(end_session::request(exchange)).await,
        Endpoint::Logout => Box::pin(end_session::confirm(exchange)).await,
        Endpoint::Token => token::respond(exchange).await,
        Endpoint::Userinfo => userinfo::respond(exchange).await,
        Endpoint::Introspect => introspect::respond(exchange).await,
        Endpoint::Revoke => Box::pin(revoke::respond(exchange)).await,
        Endpoint::Asset => static_file::asset(exchange.request, tail),
        Endpoint::RealmLogo => static_file::realm_logo(exchange, route, tail),
        Endpoint::ClientLogo => static_file::client_logo(exchange, route, tail),
    }
}

/// The body of a request whose method the route knows.
async fn read(request: &HttpRequest, payload: web::Payload, route: &Route) -> Result<Bytes, Unread> {
    if !route.methods.contains(request.method()) {
        let allow: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        let allow = allow.join(", ");
        return Err(Unread::Method { allow });
    }
    body(request, payload, BODY_TIMEOUT).await
}

/// The body of a POST, within limits and of the one type that the protocol uses.
async fn body(request: &HttpRequest, payload: web::Payload, patience: Duration) -> Result<Bytes, Unread> {
    if request.method() != Method::POST {
        return Ok(Bytes::new());
    }
    let read = tokio::time::timeout(patience, collect(payload)).await;
    let body = read.map_err(|_| Unread::TooSlow)??;
    let form = origin::single(request.headers(), &header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !form && !body.is_empty() {
        return Err(Unread::MediaType);
    }
    Ok(body)
}

async fn collect(mut payload: web::Payload) -> Result<Bytes, Unread> {
    let first = piece(&mut payload, 0).await?.unwrap_or_default();
    let Some(second) = piece(&mut payload, first.len()).await? else {
        // A body usually comes in one piece, which is taken as it is.
        return Ok(first);
    };
    let mut body = BytesMut::from(first.as_ref());
    body.extend_from_slice(&second);
    while let Some(piece) = piece(&mut payload, body.len()).await? {
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The next piece of a body of which there are so many bytes already.
async fn piece(payload: &mut web::Payload, bytes: usize) -> Result<Option<Bytes>, Unread> {
    let Some(piece) = payload.next().await else {
        return Ok(None);
    };
    let piece = piece.map_err(|_| Unread::Unreadable)?;
    if bytes + piece.len() > MAX_BODY_BYTES {
        return Err(Unread::TooLarge);
    }
    Ok(Some(piece))
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest as _;
    use actix_web::dev::Payload;
    use actix_web::error::PayloadError;
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    /// The framework makes room for the whole future of a request, and copies it there: its size is paid by each.
    #[test]
    fn the_future_of_a_request_is_small() {
        fn size_of_future<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of_future(serve);
        assert!(bytes <= 2560, "{bytes} bytes");
    }

    #[actix_web::test]
    async fn a_body_that_never_ends_is_given_up() {
        let (request, _) = TestRequest::post().to_http_parts();
        let first = futures::stream::iter([Ok::<_, PayloadError>(Bytes::from_static(b"a"))]);
        let endless = first.chain(futures::stream::pending()).boxed_local();
        let mut endless = Payload::Stream { payload: endless };
        let payload = web::Payload::from_request(&request, &mut endless).await.unwrap();
        let refused = body(&request, payload, Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(refused.json().status(), StatusCode::REQUEST_TIMEOUT);
    }
}
