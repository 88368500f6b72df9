//! One HTTP exchange inside a realm: the configuration, the moment and the id it was given when it came.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::web::Bytes;
use base64::Engine as _;
use oidc::Timestamp;
use oidc::context::Context;
use oidc::front_channel::{self, Browser, Cookies};
use oidc::id::RequestId;
use oidc::served::ServedRealm;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::Shell;
use super::look::Look;
use super::origin::{RequestOrigin, single};
use crate::clock;

/// One exchange.
pub(crate) struct Exchange<'a> {
    pub(crate) shell: &'a Shell,
    pub(crate) request: &'a HttpRequest,
    pub(crate) served: Arc<ServedRealm>,
    pub(crate) origin: RequestOrigin<'a>,
    pub(crate) now: Timestamp,
    /// Shown on error pages and in the log.
    pub(crate) id: RequestId,
    pub(crate) body: Bytes,
    cookies: Cookies,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(
        shell: &'a Shell,
        request: &'a HttpRequest,
        served: Arc<ServedRealm>,
        origin: RequestOrigin<'a>,
        body: Bytes,
    ) -> Self {
        let now = clock::now();
        let id = RequestId::generate(now, &mut rand::rng());
        let headers = request.headers().get_all(header::COOKIE);
        let cookies = Cookies::parse(headers.filter_map(|value| value.to_str().ok()));
        Self {
            shell,
            request,
            served,
            origin,
            now,
            id,
            body,
            cookies,
        }
    }

    /// What the protocol core answers from.
    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            served: &self.served,
            store: &*self.shell.store,
            revocations: &self.shell.revocations,
            remembered: &self.shell.remembered,
            now: self.now,
            max_staleness: self.shell.max_staleness,
        }
    }

    /// The browser behind a front-channel request.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            cookies: &self.cookies,
            method: if self.request.method() == Method::POST {
                front_channel::Method::Post
            } else {
                front_channel::Method::Get
            },
            fetch_site: self.header(&HeaderName::from_static("sec-fetch-site")),
            origin: self.header(&header::ORIGIN),
            source: self.origin.source(),
            user_agent: self.header(&header::USER_AGENT).unwrap_or_default(),
        }
    }

    /// A header that occurs once.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        single(self.request.headers(), name)
    }

    /// The bytes that parameters are in: the body of a POST, else the query.
    pub(crate) fn parameters(&self) -> &[u8] {
        if self.request.method() == Method::POST {
            &self.body
        } else {
            self.request.query_string().as_bytes()
        }
    }

    /// The realm's look.
    pub(crate) fn look(&self) -> Arc<Look> {
        self.shell.looks.of(&self.served.realm)
    }
}

/// A generator for one call of the core, seeded from this thread's.
pub(crate) fn random() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}

/// A fresh nonce for a Content-Security-Policy.
pub(crate) fn nonce() -> String {
    let mut bytes = [0_u8; 16];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
