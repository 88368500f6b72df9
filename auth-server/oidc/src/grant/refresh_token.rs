//! The refresh token grant (RFC 6749 §6, OpenID Connect Core 1.0 §12): exactly one statement.
//!
//! A refresh token is a sealed (family, sequence) with what the grant was about. The store moves the family forward or
//! revokes it; what the token says is checked before.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::audience::Audience;
use crate::claims::ClaimsRequest;
use crate::client_authentication::AuthenticatedClient;
use crate::code::Authentication;
use crate::config::Client;
use crate::context::{Context, Randomness};
use crate::grant::authorization_code::{REVOCATION_MARGIN, narrow_resources, respond};
use crate::id::{FamilyId, GrantId, PersonId, SessionId};
use crate::mint::{MintError, PersonGrant};
use crate::parameters::Parameters;
use crate::person::Person;
use crate::revocation::{Revocation, Revoked};
use crate::seal::{OpenError, Purpose, SealError};
use crate::store::{RefreshRotation, RotationOutcome};
use crate::token::{TokenError, TokenResponse, required};

const INVALID: TokenError =
    TokenError::InvalidGrant("the refresh token is invalid, expired, revoked, or was issued to another client");

/// What a refresh token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RefreshToken {
    #[serde(rename = "f")]
    pub(crate) family: FamilyId,
    #[serde(rename = "n")]
    pub(crate) sequence: i64,
    #[serde(rename = "c")]
    pub(crate) client_id: String,
    #[serde(rename = "g")]
    pub(crate) grant: GrantId,
    #[serde(rename = "p")]
    pub(crate) person: PersonId,
    #[serde(rename = "e")]
    pub(crate) epoch: i32,
    /// Absent when the family outlives the session (`offline_access`).
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionId>,
    #[serde(flatten)]
    pub(crate) authentication: Authentication,
    #[serde(rename = "o")]
    pub(crate) scopes: Vec<String>,
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(rename = "q", default, skip_serializing_if = "ClaimsRequest::is_empty")]
    pub(crate) claims: ClaimsRequest,
    #[serde(rename = "i")]
    pub(crate) issued_at: Timestamp,
    /// The family's end.
    #[serde(rename = "x")]
    pub(crate) expires_at: Timestamp,
}

impl RefreshToken {
    pub(crate) fn seal(&self, context: &Context<'_>, rng: Randomness<'_>) -> Result<String, SealError> {
        context.keys().sealer().seal(Purpose::RefreshToken, self, rng)
    }

    pub(crate) fn open(context: &Context<'_>, token: &str) -> Result<Self, OpenError> {
        context.keys().sealer().open(Purpose::RefreshToken, token)
    }

    /// Whether it is neither expired nor older than the realm's `notBefore`. The store knows the rest.
    pub(crate) fn is_current(&self, context: &Context<'_>) -> bool {
        self.expires_at > context.now
            && !context.predates_realm(self.issued_at)
            && !context.predates_realm(self.authentication.time)
    }
}

pub(crate) async fn exchange(
    context: &Context<'_>,
    rng: Randomness<'_>,
    authenticated: &AuthenticatedClient,
    parameters: &Parameters,
) -> Result<TokenResponse, TokenError> {
    let client = authenticated.client();
    let token = RefreshToken::open(context, required(parameters, "refresh_token")?).map_err(|_| INVALID)?;
    if token.client_id != client.client_id || !token.is_current(context) {
        return Err(INVALID);
    }
    let scopes = narrow_scopes(client, &token.scopes, &parameters.list("scope"))?;
    let granted: Vec<&str> = token.resources.iter().map(String::as_str).collect();
    let resources = narrow_resources(&granted, parameters)?;
    let audience = Audience::choose(context.issuer(), client, &resources, &scopes)?;
    // A public client's tokens always rotate (RFC 9700 §4.14.2).
    let rotate = client.tokens.rotate_refresh || authenticated.is_public();
    let (sequence, person) = rotated(context, client, &token, rotate).await?;
    let grant = PersonGrant {
        client,
        person: &person,
        grant: token.grant,
        family: Some(token.family),
        offline: token.session.is_none(),
        session: token.session,
        authentication: &token.authentication,
        scopes: &scopes,
        audience,
        claims: &token.claims,
    };
    // The new token keeps all scopes that were granted, whatever this request narrowed down to (RFC 6749 §6).
    let successor = RefreshToken {
        sequence,
        issued_at: context.now,
        ..token.clone()
    };
    let refresh_token = rotate
        .then(|| successor.seal(context, rng))
        .transpose()
        .map_err(MintError::Seal)?;
    respond(context, rng, &grant, None, refresh_token)
}

/// The granted scopes that the client still has, or those of them that it asks for.
fn narrow_scopes(client: &Client, granted: &[String], requested: &[&str]) -> Result<Vec<String>, TokenError> {
    if !requested.iter().all(|scope| granted.iter().any(|known| known == scope)) {
        return Err(TokenError::InvalidScope);
    }
    Ok(granted
        .iter()
        .filter(|scope| requested.is_empty() || requested.contains(&scope.as_str()))
        .filter(|scope| client.scopes.contains(scope))
        .cloned()
        .collect())
}

async fn rotated(
    context: &Context<'_>,
    client: &Client,
    token: &RefreshToken,
    rotate: bool,
) -> Result<(i64, Box<Person>), TokenError> {
    let rotation = RefreshRotation {
        family: token.family,
        sequence: token.sequence,
        client_id: &client.client_id,
        rotate,
        leeway: client.tokens.lifetimes.refresh_leeway,
        idle: client.tokens.lifetimes.refresh_idle,
        now: context.now,
    };
    let outcome = context.store.rotate_refresh(context.realm_id(), rotation).await;
    match outcome.map_err(TokenError::Unavailable)? {
        RotationOutcome::Rotated { sequence, person } => Ok((sequence, person)),
        RotationOutcome::NotAuthorized => Err(INVALID),
        RotationOutcome::Replayed => {
            // The statement revoked the family; this replica need not wait for the feed to tell it.
            context
                .revocations
                .record([family_revocation(context, client, token.family)]);
            Err(INVALID)
        }
    }
}

/// The end of a family, remembered for as long as its last access token could live.
pub(crate) fn family_revocation(context: &Context<'_>, client: &Client, family: FamilyId) -> Revocation {
    Revocation {
        what: Revoked::Family(family),
        expires_at: context
            .now
            .after(client.tokens.lifetimes.access)
            .after(REVOCATION_MARGIN),
    }
}
