//! `private_key_jwt`: a JWT that a client signs about itself (RFC 7523 §3, OpenID Connect Core 1.0 §9).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::Timestamp;
use crate::audience::Audience;
use crate::config::{Client, ClientKeys};
use crate::context::Context;
use crate::endpoint;
use crate::jose::{Compact, JwsError};

/// How far a client's clock may be off.
const SKEW: Duration = Duration::from_secs(30);
/// How far ahead an assertion may expire. Bounds how long its `jti` is kept.
const MAX_LIFETIME: Duration = Duration::from_mins(5);
/// Bytes of a `jti`.
const MAX_JTI_BYTES: usize = 256;

/// Why an assertion is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Not a JWT with the claims that RFC 7523 §3 requires.
    #[error("the assertion is malformed")]
    Malformed,
    /// Not signed by one of the client's keys.
    #[error("the assertion is not signed by the client")]
    Signature(#[source] JwsError),
    /// A `typ` of something else.
    #[error("the assertion is a token of another type")]
    WrongType,
    /// `iss` and `sub` are not both the client.
    #[error("the assertion is not issued by the client about itself")]
    NotAboutItself,
    /// `aud` names neither the issuer nor one of its endpoints.
    #[error("the assertion is for another audience")]
    Audience,
    /// Past `exp`.
    #[error("the assertion has expired")]
    Expired,
    /// `exp` too far ahead.
    #[error("the assertion lives too long")]
    LivesTooLong,
    /// `nbf` or `iat` in the future.
    #[error("the assertion is not valid yet")]
    NotYetValid,
    /// `jti` empty or too long.
    #[error("the assertion has no usable jti")]
    NoJti,
    /// `jti` used before.
    #[error("the assertion was used before")]
    Replayed,
}

/// An acceptable assertion, as far as can be told without the store.
pub(super) struct Assertion {
    pub(super) jti: String,
    /// When it is refused for its age alone.
    pub(super) replayable_until: Timestamp,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    jti: String,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// The `sub` that an assertion claims, unverified: only good for finding the keys to verify it with.
pub(super) fn claimed_subject(assertion: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Subject {
        sub: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
    let Subject { sub } = serde_json::from_slice(&payload).ok()?;
    Some(sub)
}

/// Checks signature and claims of an assertion that claims to be by `client`.
pub(super) fn verify(
    context: &Context<'_>,
    client: &Client,
    keys: &ClientKeys,
    assertion: &str,
) -> Result<Assertion, AssertionError> {
    let token = Compact::parse(assertion).map_err(AssertionError::Signature)?;
    if !matches!(token.typ(), None | Some("JWT" | "jwt" | "client-authentication+jwt")) {
        return Err(AssertionError::WrongType);
    }
    let payload = keys.verify(&token).map_err(AssertionError::Signature)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| AssertionError::Malformed)?;
    if claims.iss != client.client_id || claims.sub != client.client_id {
        return Err(AssertionError::NotAboutItself);
    }
    let endpoints = [endpoint::TOKEN, endpoint::INTROSPECT, endpoint::REVOKE];
    let for_us =
        claims.aud.contains(context.issuer()) || endpoints.iter().any(|path| claims.aud.contains(&context.url(path)));
    if !for_us {
        return Err(AssertionError::Audience);
    }
    let expires_at = moment(claims.exp).ok_or(AssertionError::Malformed)?;
    let replayable_until = expires_at.after(SKEW);
    if replayable_until <= context.now {
        return Err(AssertionError::Expired);
    }
    if expires_at > context.now.after(MAX_LIFETIME).after(SKEW) {
        return Err(AssertionError::LivesTooLong);
    }
    for start in [claims.nbf, claims.iat].into_iter().flatten() {
        if moment(start).ok_or(AssertionError::Malformed)? > context.now.after(SKEW) {
            return Err(AssertionError::NotYetValid);
        }
    }
    if claims.jti.is_empty() || claims.jti.len() > MAX_JTI_BYTES || claims.jti.contains('\0') {
        return Err(AssertionError::NoJti);
    }
    Ok(Assertion {
        jti: claims.jti,
        replayable_until,
    })
}

/// A NumericDate (RFC 7519 §2), which may have a fraction. `None` outside of what a date can be.
fn moment(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (0.0..1e11)
        .contains(&seconds)
        .then(|| Timestamp::from_unix_seconds(seconds as i64))
}
