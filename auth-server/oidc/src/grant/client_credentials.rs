//! The client credentials grant (RFC 6749 §4.4): a token about the client itself. No statement, one signature.

use crate::audience::Audience;
use crate::client_authentication::AuthenticatedClient;
use crate::context::{Context, Randomness};
use crate::mint;
use crate::parameters::Parameters;
use crate::token::{TokenError, TokenResponse};

/// Scopes that mean something only for people.
const ABOUT_PEOPLE: [&str; 2] = ["openid", "offline_access"];

pub(crate) fn exchange(
    context: &Context<'_>,
    rng: Randomness<'_>,
    authenticated: &AuthenticatedClient,
    parameters: &Parameters,
) -> Result<TokenResponse, TokenError> {
    if authenticated.is_public() {
        return Err(TokenError::UnauthorizedClient);
    }
    let client = authenticated.client();
    let about_people = |scope: &str| ABOUT_PEOPLE.contains(&scope);
    let requested = parameters.list("scope");
    let scopes: Vec<String> = if requested.is_empty() {
        let defaults = client.default_scopes.iter();
        defaults.filter(|scope| !about_people(scope)).cloned().collect()
    } else {
        let allowed = |scope: &&str| client.scopes.iter().any(|known| known == scope) && !about_people(scope);
        if !requested.iter().all(allowed) {
            return Err(TokenError::InvalidScope);
        }
        requested.into_iter().map(str::to_owned).collect()
    };
    let resources: Vec<&str> = parameters.all("resource").collect();
    let audience = Audience::choose(context.issuer(), client, &resources, &scopes)?;
    let access_token = mint::client_access_token(context, rng, client, audience, &scopes)?;
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in_seconds: client.tokens.lifetimes.access.as_secs(),
        refresh_token: None,
        id_token: None,
        scope: scopes.join(" "),
    })
}
