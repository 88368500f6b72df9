//! The UserInfo endpoint (OpenID Connect Core 1.0 §5.3): claims about the person a bearer token is about (RFC 6750).

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::access_token::AccessToken;
use crate::claims;
use crate::context::Context;
use crate::parameters::Parameters;
use crate::remembered;
use crate::store::StoreError;

/// A request to the UserInfo endpoint. A token in the query is not looked at (RFC 9700 §4.3.2).
#[derive(Clone, Copy)]
pub struct UserinfoRequest<'a> {
    /// The `Authorization` header, when sent.
    pub authorization: Option<&'a str>,
    /// The body of a POST of type `application/x-www-form-urlencoded`.
    pub form: Option<&'a [u8]>,
}

/// Without the token.
impl std::fmt::Debug for UserinfoRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserinfoRequest").finish_non_exhaustive()
    }
}

/// Claims about a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Userinfo {
    /// The answer: a JSON object with `sub`.
    pub claims: Map<String, Value>,
    /// The client the token was issued to, for deciding which origins may read the answer.
    pub client_id: String,
}

/// Why there are no claims (RFC 6750 §3.1).
#[derive(Debug, thiserror::Error)]
pub enum UserinfoError {
    /// No token at all: 401 with a bare challenge.
    #[error("no access token")]
    NoToken,
    /// Malformed, or more than one token: 400.
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    /// Not a token of this realm, expired, revoked, or of a person that is gone: 401.
    #[error("the access token is invalid, expired or revoked")]
    InvalidToken,
    /// Without the scope `openid`: 403.
    #[error("the access token has not the scope openid")]
    InsufficientScope,
    /// What is revoked is not known well enough: 503.
    #[error("revocations are not known at present")]
    Stale,
    /// The store does not answer: 503.
    #[error("the service cannot answer now")]
    Unavailable(#[source] StoreError),
}

impl UserinfoError {
    /// The `error` code; none when the request had no token.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::NoToken => None,
            Self::InvalidRequest(_) => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::Stale | Self::Unavailable(_) => Some("temporarily_unavailable"),
        }
    }

    /// The `WWW-Authenticate` header of a 400, 401 or 403 (RFC 6750 §3).
    pub fn challenge(&self, issuer: &str) -> Option<String> {
        let code = match self {
            Self::NoToken => return Some(format!("Bearer realm=\"{issuer}\"")),
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::Stale | Self::Unavailable(_) => return None,
        };
        let scope = if matches!(self, Self::InsufficientScope) {
            ", scope=\"openid\""
        } else {
            ""
        };
        Some(format!(
            "Bearer realm=\"{issuer}\", error=\"{code}\", error_description=\"{self}\"{scope}"
        ))
    }
}

/// Answers a request: one read of a person by primary key, none while the person is remembered.
pub async fn respond(context: &Context<'_>, request: UserinfoRequest<'_>) -> Result<Userinfo, UserinfoError> {
    let bearer = bearer(request)?;
    let token = AccessToken::decode(context, &bearer)
        .filter(|token| token.is_live(context))
        .ok_or(UserinfoError::InvalidToken)?;
    let for_issuer = token.aud.contains(context.issuer());
    if !token.has_scope("openid") || !for_issuer {
        return Err(UserinfoError::InsufficientScope);
    }
    let (Some(person), Some(about)) = (token.person_id(), &token.person) else {
        return Err(UserinfoError::InvalidToken);
    };
    if !context.knows_revocations() {
        return Err(UserinfoError::Stale);
    }
    let person = remembered::person_in_epoch(context, person, about.epoch)
        .await
        .map_err(UserinfoError::Unavailable)?
        .ok_or(UserinfoError::InvalidToken)?;
    let by_scope = token
        .scope
        .split(' ')
        .filter_map(|scope| context.realm().scopes.get(scope))
        .flat_map(|scope| &scope.claims);
    let names = by_scope.chain(&about.userinfo_claims).map(String::as_str);
    let mut released = Map::new();
    released.insert("sub".to_owned(), token.sub.as_str().into());
    released.extend(claims::of_person(&person, names));
    Ok(Userinfo {
        claims: released,
        client_id: token.client_id.clone(),
    })
}

/// The one bearer token of a request (RFC 6750 §2.1, §2.2).
fn bearer(request: UserinfoRequest<'_>) -> Result<String, UserinfoError> {
    let parameters = Parameters::parse(request.form.unwrap_or_default())
        .map_err(|error| UserinfoError::InvalidRequest(error.to_string().into()))?;
    let in_header = request.authorization.map(|header| {
        header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
    });
    match (in_header, parameters.get("access_token")) {
        (Some(_), Some(_)) => Err(UserinfoError::InvalidRequest(
            "more than one access token is sent".into(),
        )),
        (Some(Some(token)), None) | (None, Some(token)) => Ok(token.to_owned()),
        (Some(None), None) => Err(UserinfoError::InvalidRequest(
            "the authorization header is not a bearer token".into(),
        )),
        (None, None) => Err(UserinfoError::NoToken),
    }
}

#[cfg(test)]
mod tests;
