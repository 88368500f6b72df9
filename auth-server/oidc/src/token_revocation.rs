//! The revocation endpoint (RFC 7009): a client gives its own tokens back.
//!
//! Revoking a refresh token ends its family with the access tokens issued from it; revoking an access token ends that
//! token alone. What is no token of this realm is already as good as revoked.

use crate::access_token::AccessToken;
use crate::client_authentication;
use crate::context::Context;
use crate::grant::refresh_token::{RefreshToken, family_revocation};
use crate::parameters::Parameters;
use crate::revocation::{Revocation, Revoked};
use crate::token::{TokenError, required};

const OTHER_CLIENT: TokenError = TokenError::InvalidGrant("the token was issued to another client");

/// Answers a request from its `Authorization` header and form: 200 with an empty body. Unless the token is worth
/// nothing already, one statement; at once on this replica.
pub async fn respond(context: &Context<'_>, authorization: Option<&str>, body: &[u8]) -> Result<(), TokenError> {
    let parameters = Parameters::parse(body)?;
    let caller = client_authentication::authenticate(context, authorization, &parameters).await?;
    let client = caller.client();
    let token = required(&parameters, "token")?;
    let (owner, revocation) = if let Some(token) = AccessToken::decode(context, token) {
        let revocation = (token.expires_at() > context.now).then(|| Revocation {
            what: Revoked::Token(token.jti),
            expires_at: token.expires_at(),
        });
        (token.client_id.clone(), revocation)
    } else if let Ok(token) = RefreshToken::open(context, token) {
        let revocation = (token.expires_at > context.now).then(|| family_revocation(context, client, token.family));
        (token.client_id, revocation)
    } else {
        return Ok(());
    };
    if owner != client.client_id {
        return Err(OTHER_CLIENT);
    }
    if let Some(revocation) = revocation {
        let recorded = context
            .store
            .revoke(context.realm_id(), &[revocation], context.now)
            .await;
        recorded.map_err(TokenError::Unavailable)?;
        context.revocations.record([revocation]);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
