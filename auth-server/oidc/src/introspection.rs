//! The introspection endpoint (RFC 7662): what a token says, for resource servers.
//!
//! Only confidential clients may ask. A client learns about a token that it owns, or whose audience it is: `aud` holds
//! its `client_id` or one of its own audiences. About refresh tokens only their owner learns. Any other token, whatever
//! is wrong with it, is `{"active":false}` and nothing else (§2.2).

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::access_token::AccessToken;
use crate::audience::Audience;
use crate::client_authentication;
use crate::config::Client;
use crate::context::Context;
use crate::grant::refresh_token::RefreshToken;
use crate::id::{SessionId, TokenId};
use crate::parameters::Parameters;
use crate::revocation::Revoked;
use crate::token::{TokenError, required};

/// What is known about a token. Serialises to the body of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Introspection(Known);

#[derive(Clone, Debug, PartialEq)]
enum Known {
    Inactive,
    AccessToken(Arc<AccessToken>),
    RefreshToken { token: Box<RefreshToken>, issuer: String },
}

/// The members of an answer (RFC 7662 §2.2).
#[derive(Default, Serialize)]
struct Members<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
}

impl Introspection {
    const INACTIVE: Self = Self(Known::Inactive);

    /// Whether the token may be used now.
    pub fn is_active(&self) -> bool {
        !matches!(self.0, Known::Inactive)
    }
}

impl Serialize for Introspection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Known::Inactive => Members::default().serialize(serializer),
            Known::AccessToken(token) => {
                let person = token.person.as_ref();
                let members = Members {
                    active: true,
                    token_type: Some("Bearer"),
                    iss: Some(&token.iss),
                    sub: Some(&token.sub),
                    aud: Some(&token.aud),
                    client_id: Some(&token.client_id),
                    scope: Some(token.scope.as_str()).filter(|scope| !scope.is_empty()),
                    exp: Some(token.exp),
                    iat: Some(token.iat),
                    jti: Some(token.jti),
                    auth_time: person.map(|person| person.auth_time),
                    acr: person.and_then(|person| person.acr.as_deref()),
                    sid: person.and_then(|person| person.sid),
                };
                members.serialize(serializer)
            }
            Known::RefreshToken { token, issuer } => {
                let members = Members {
                    active: true,
                    iss: Some(issuer),
                    sub: Some(&token.person.to_string()),
                    client_id: Some(&token.client_id),
                    scope: Some(&token.scopes.join(" ")),
                    exp: Some(token.expires_at.unix_seconds()),
                    iat: Some(token.issued_at.unix_seconds()),
                    sid: token.session,
                    ..Members::default()
                };
                members.serialize(serializer)
            }
        }
    }
}

/// Answers a request from its `Authorization` header and form. No statement for access tokens, one for a refresh token.
pub async fn respond(
    context: &Context<'_>,
    authorization: Option<&str>,
    body: &[u8],
) -> Result<Introspection, TokenError> {
    let parameters = Parameters::parse(body)?;
    let caller = client_authentication::authenticate_confidential(context, authorization, &parameters).await?;
    let token = required(&parameters, "token")?;
    if !context.knows_revocations() {
        return Err(TokenError::Stale);
    }
    if let Some(token) = AccessToken::decode(context, token) {
        return Ok(access_token(context, caller.client(), token));
    }
    match RefreshToken::open(context, token) {
        Ok(token) if token.client_id == caller.client().client_id => {
            refresh_token(context, caller.client(), token).await
        }
        Ok(_) | Err(_) => Ok(Introspection::INACTIVE),
    }
}

fn access_token(context: &Context<'_>, caller: &Client, token: Arc<AccessToken>) -> Introspection {
    let concerns_caller = token.client_id == caller.client_id
        || token.aud.contains(&caller.client_id)
        || caller.audiences.iter().any(|audience| token.aud.contains(audience));
    if !concerns_caller || !token.is_live(context) {
        return Introspection::INACTIVE;
    }
    Introspection(Known::AccessToken(token))
}

async fn refresh_token(
    context: &Context<'_>,
    client: &Client,
    token: RefreshToken,
) -> Result<Introspection, TokenError> {
    let person = Revoked::Person {
        person: token.person,
        epoch: token.epoch,
    };
    if !token.is_current(context) || context.revocations.any_revoked([person]) {
        return Ok(Introspection::INACTIVE);
    }
    let idle = client.tokens.lifetimes.refresh_idle;
    let sequence = context
        .store
        .refresh_sequence(context.realm_id(), token.family, idle, context.now)
        .await
        .map_err(TokenError::Unavailable)?;
    if sequence != Some(token.sequence) {
        return Ok(Introspection::INACTIVE);
    }
    Ok(Introspection(Known::RefreshToken {
        issuer: context.issuer().to_owned(),
        token: Box::new(token),
    }))
}

#[cfg(test)]
mod tests;
