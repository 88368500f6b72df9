//! The one mapping from what went wrong to a status code, and the answers that carry it.
//!
//! Clients get an RFC's code and a fixed sentence; whatever caused it is logged here, once, under the exchange's id.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use oidc::front_channel::{RefusalKind, SignInAlert};
use oidc::token::TokenError;
use oidc::userinfo::UserinfoError;
use serde::Serialize;

use super::exchange::Exchange;

/// When to come back while the database or the feed is away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the body of an answer with one token takes.
const USUAL_BODY_BYTES: usize = 1024;

/// An answer that has a status and headers, and gets its body from a page.
pub(crate) struct Bare(HttpResponseBuilder);

impl Bare {
    fn new(status: StatusCode) -> Self {
        Self(HttpResponse::build(status))
    }

    /// The answer with a page under the policy `csp`.
    pub(crate) fn html(mut self, html: String, csp: &str) -> HttpResponse {
        self.0
            .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::CONTENT_SECURITY_POLICY, csp))
            .body(html)
    }

    /// The answer without a body.
    fn empty(mut self) -> HttpResponse {
        self.0.insert_header((header::CACHE_CONTROL, "no-store")).finish()
    }

    /// The answer with a JSON body.
    fn json(mut self, body: &impl Serialize) -> HttpResponse {
        let mut json = Vec::with_capacity(USUAL_BODY_BYTES);
        if serde_json::to_writer(&mut json, body).is_err() {
            json.clear();
        }
        self.0
            .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
            .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
            .insert_header((header::PRAGMA, HeaderValue::from_static("no-cache")))
            .body(json)
    }
}

/// The error body of RFC 6749 §5.2, used by every endpoint that answers JSON.
#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// A JSON answer that must not be stored.
pub(crate) fn json_ok(body: &impl Serialize) -> HttpResponse {
    Bare::new(StatusCode::OK).json(body)
}

/// Done, with nothing to say (RFC 7009 §2.2).
pub(crate) fn ok() -> HttpResponse {
    Bare::new(StatusCode::OK).empty()
}

/// A page that is not about an error.
pub(crate) fn page_ok() -> Bare {
    Bare::new(StatusCode::OK)
}

/// Go on there with a GET (RFC 9110 §15.4.4).
pub(crate) fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// The sign-in page, as the answer to a wrong entry or for the first time.
pub(crate) fn sign_in(alert: Option<SignInAlert>) -> Bare {
    match alert {
        None => Bare::new(StatusCode::OK),
        // Not 401: that would demand a challenge, and browsers answer challenges with a dialog of their own.
        Some(SignInAlert::WrongCredentials | SignInAlert::MissingIdentifier | SignInAlert::MissingPassword) => {
            Bare::new(StatusCode::UNPROCESSABLE_ENTITY)
        }
        Some(SignInAlert::Expired) => Bare::new(StatusCode::BAD_REQUEST),
        Some(SignInAlert::TooManyAttempts { retry_after }) => {
            with_retry_after(Bare::new(StatusCode::TOO_MANY_REQUESTS), retry_after)
        }
    }
}

/// The page that explains a refusal.
pub(crate) fn refused(kind: RefusalKind) -> Bare {
    Bare::new(match kind {
        RefusalKind::UnknownClient
        | RefusalKind::RedirectUri
        | RefusalKind::PostLogoutRedirectUri
        | RefusalKind::InvalidRequest
        | RefusalKind::DuplicateCookies
        | RefusalKind::OtherBrowser
        | RefusalKind::Expired => StatusCode::BAD_REQUEST,
        RefusalKind::CrossSite => StatusCode::FORBIDDEN,
    })
}

/// The page that asks to come back.
pub(crate) fn unavailable(retry_after: Duration) -> Bare {
    with_retry_after(Bare::new(StatusCode::SERVICE_UNAVAILABLE), retry_after)
}

/// The page for an address that belongs to nothing.
pub(crate) fn page_not_found() -> Bare {
    Bare::new(StatusCode::NOT_FOUND)
}

/// `error` and a sentence for an address that belongs to nothing.
pub(crate) fn not_found() -> HttpResponse {
    let body = OAuthError {
        error: "not_found",
        error_description: "nothing is served at this address",
    };
    Bare::new(StatusCode::NOT_FOUND).json(&body)
}

/// Why a request is refused before its endpoint looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The address exists, the method does not.
    Method {
        /// The methods that do, as in `Allow`.
        allow: String,
    },
    /// The body is larger than any request of the protocol.
    TooLarge,
    /// The body did not come in time; what is left of it is not waited for.
    TooSlow,
    /// The body ended early or was not readable.
    Unreadable,
    /// The body is of a type that this endpoint does not read.
    MediaType,
}

impl Unread {
    /// A sentence for whoever wrote the request.
    pub(crate) const fn description(&self) -> &'static str {
        match self {
            Self::Method { .. } => "this method is not supported here",
            Self::TooLarge => "the request body is too large",
            Self::TooSlow => "the request body did not arrive in time",
            Self::Unreadable => "the request body could not be read",
            Self::MediaType => "the request body must be application/x-www-form-urlencoded",
        }
    }

    /// The answer to a program.
    pub(crate) fn json(&self) -> HttpResponse {
        let body = OAuthError {
            error: "invalid_request",
            error_description: self.description(),
        };
        self.bare().json(&body)
    }

    /// The answer without its body.
    pub(crate) fn bare(&self) -> Bare {
        let mut bare = Bare::new(match self {
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        });
        if let Self::Method { allow } = self {
            bare.0.insert_header((header::ALLOW, allow.as_str()));
        }
        if *self == Self::TooSlow {
            bare.0.force_close();
        }
        bare
    }
}

/// An error of the token, introspection or revocation endpoint (RFC 6749 §5.2).
pub(crate) fn token(exchange: &Exchange<'_>, failure: &TokenError) -> HttpResponse {
    log(exchange, failure.code(), failure);
    let status = match failure {
        TokenError::InvalidClient(_) => StatusCode::UNAUTHORIZED,
        TokenError::InvalidRequest(_)
        | TokenError::InvalidGrant(_)
        | TokenError::UnauthorizedClient
        | TokenError::UnsupportedGrantType
        | TokenError::InvalidScope
        | TokenError::InvalidTarget => StatusCode::BAD_REQUEST,
        TokenError::Unavailable(_) | TokenError::Stale => StatusCode::SERVICE_UNAVAILABLE,
        TokenError::Mint(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let challenge = failure.challenge(exchange.served.realm.issuer.as_str());
    let body = OAuthError {
        error: failure.code(),
        error_description: &failure.description(),
    };
    challenged(status, challenge).json(&body)
}

/// An error of the userinfo endpoint (RFC 6750 §3).
pub(crate) fn userinfo(exchange: &Exchange<'_>, failure: &UserinfoError) -> HttpResponse {
    let code = failure.code().unwrap_or("no_token");
    log(exchange, code, failure);
    let status = match failure {
        UserinfoError::NoToken | UserinfoError::InvalidToken => StatusCode::UNAUTHORIZED,
        UserinfoError::InvalidRequest(_) => StatusCode::BAD_REQUEST,
        UserinfoError::InsufficientScope => StatusCode::FORBIDDEN,
        UserinfoError::Stale | UserinfoError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let challenge = failure.challenge(exchange.served.realm.issuer.as_str());
    let answer = challenged(status, challenge);
    match failure.code() {
        Some(error) => answer.json(&OAuthError {
            error,
            error_description: &failure.to_string(),
        }),
        // RFC 6750 §3.1: a request without any token learns nothing but the challenge.
        None => answer.empty(),
    }
}

fn challenged(status: StatusCode, challenge: Option<String>) -> Bare {
    let mut answer = Bare::new(status);
    if let Some(challenge) = challenge {
        answer.0.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        with_retry_after(answer, RETRY_AFTER)
    } else {
        answer
    }
}

/// Logs what went wrong with everything that caused it, once.
fn log(exchange: &Exchange<'_>, code: &'static str, failure: &(dyn std::error::Error + 'static)) {
    let (id, realm) = (exchange.id, &exchange.served.realm.name);
    let path = exchange.request.path();
    if failure.source().is_some() || code == "server_error" {
        tracing::warn!(error_id = %id, %realm, path, code, error = crate::log::chain(failure), "request failed");
    } else {
        tracing::info!(error_id = %id, %realm, path, code, error = crate::log::chain(failure), "request refused");
    }
}

/// A probe's answer.
pub(crate) fn probe(passes: bool, body: &impl Serialize) -> HttpResponse {
    let status = if passes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Bare::new(status).json(body)
}

fn with_retry_after(mut answer: Bare, retry_after: Duration) -> Bare {
    answer
        .0
        .insert_header((header::RETRY_AFTER, retry_after.as_secs().max(1).to_string()));
    answer
}
