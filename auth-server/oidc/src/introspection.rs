//! The introspection endpoint (RFC 7662): what a token says, for resource servers.
//!
//! Only confidential clients may ask. A client learns about a token that it owns, or whose audience it is: `aud` holds
//! its `client_id` or one of its own audiences. About refresh tokens only their owner learns. Any other token, whatever
//! is wrong with it, is `{"active":false}` and nothing else (§2.2).

use serde_json::{Map, Value, json};

use crate::access_token::AccessToken;
use crate::client_authentication;
use crate::config::Client;
use crate::context::Context;
use crate::grant::refresh_token::RefreshToken;
use crate::parameters::Parameters;
use crate::revocation::Revoked;
use crate::token::{TokenError, required};

/// What is known about a token. Serialises to the body of the answer.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Introspection(Map<String, Value>);

impl Introspection {
    fn inactive() -> Self {
        Self(Map::from_iter([("active".to_owned(), false.into())]))
    }

    fn active(members: Value) -> Self {
        let mut answer = Map::from_iter([("active".to_owned(), true.into())]);
        if let Value::Object(members) = members {
            answer.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Self(answer)
    }

    /// Whether the token may be used now.
    pub fn is_active(&self) -> bool {
        self.0.get("active") == Some(&Value::Bool(true))
    }

    /// The members of the answer.
    pub fn members(&self) -> &Map<String, Value> {
        &self.0
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
        return Ok(access_token(context, caller.client(), &token));
    }
    match RefreshToken::open(context, token) {
        Ok(token) if token.client_id == caller.client().client_id => {
            refresh_token(context, caller.client(), &token).await
        }
        Ok(_) | Err(_) => Ok(Introspection::inactive()),
    }
}

fn access_token(context: &Context<'_>, caller: &Client, token: &AccessToken) -> Introspection {
    let concerns_caller = token.client_id == caller.client_id
        || token.aud.contains(&caller.client_id)
        || caller.audiences.iter().any(|audience| token.aud.contains(audience));
    if !concerns_caller || !token.is_live(context) {
        return Introspection::inactive();
    }
    let person = token.person.as_ref();
    Introspection::active(json!({
        "token_type": "Bearer",
        "iss": token.iss,
        "sub": token.sub,
        "aud": token.aud,
        "client_id": token.client_id,
        "scope": Some(&token.scope).filter(|scope| !scope.is_empty()),
        "exp": token.exp,
        "iat": token.iat,
        "jti": token.jti,
        "auth_time": person.map(|person| person.auth_time),
        "acr": person.and_then(|person| person.acr.as_deref()),
        "sid": person.and_then(|person| person.sid),
    }))
}

async fn refresh_token(
    context: &Context<'_>,
    client: &Client,
    token: &RefreshToken,
) -> Result<Introspection, TokenError> {
    let person = Revoked::Person {
        person: token.person,
        epoch: token.epoch,
    };
    if !token.is_current(context) || context.revocations.any_revoked([person]) {
        return Ok(Introspection::inactive());
    }
    let idle = client.tokens.lifetimes.refresh_idle;
    let sequence = context
        .store
        .refresh_sequence(context.realm_id(), token.family, idle, context.now)
        .await
        .map_err(TokenError::Unavailable)?;
    if sequence != Some(token.sequence) {
        return Ok(Introspection::inactive());
    }
    Ok(Introspection::active(json!({
        "iss": context.issuer(),
        "sub": token.person,
        "client_id": token.client_id,
        "scope": token.scopes.join(" "),
        "exp": token.expires_at.unix_seconds(),
        "iat": token.issued_at.unix_seconds(),
        "sid": token.session,
    })))
}

#[cfg(test)]
mod tests;
