//! The authorization code grant (RFC 6749 §4.1.3, OpenID Connect Core 1.0 §3.1.3).
//!
//! The code is opened and everything it says is checked before it is spent, so that a stolen code in the wrong hands
//! costs its owner nothing. One statement spends it; a second use revokes everything that the first one led to.

use std::time::Duration;

use crate::audience::Audience;
use crate::client_authentication::AuthenticatedClient;
use crate::code::AuthorizationCode;
use crate::config::{Client, ClientAuthentication, GrantType};
use crate::context::{Context, Randomness};
use crate::grant::pkce;
use crate::grant::refresh_token::RefreshToken;
use crate::id::{FamilyId, GrantId, RequestId};
use crate::mint::{self, MintError, PersonGrant};
use crate::parameters::Parameters;
use crate::person::Person;
use crate::revocation::{Revocation, Revoked};
use crate::store::{CodeRedemption, NewFamily, RedemptionOutcome};
use crate::token::{TokenError, TokenResponse, required};

/// Added to the life of a revocation, for clocks that differ.
pub(crate) const REVOCATION_MARGIN: Duration = Duration::from_mins(1);

const INVALID: TokenError = TokenError::InvalidGrant("the code is invalid, expired, or was issued to another client");

pub(crate) async fn exchange(
    context: &Context<'_>,
    rng: Randomness<'_>,
    authenticated: &AuthenticatedClient,
    parameters: &Parameters,
    request: RequestId,
) -> Result<TokenResponse, TokenError> {
    let client = authenticated.client();
    let code = AuthorizationCode::open(context.keys(), required(parameters, "code")?).map_err(|_| INVALID)?;
    check(context, client, &code, parameters)?;
    let audience = audience(context, client, &code, parameters)?;
    let family = new_family(context, rng, client, &code);
    let person = spend(context, client, &code, family, request).await?;
    let offline = family.is_some_and(|family| family.offline);
    let grant = PersonGrant {
        client,
        person: &person,
        grant: code.grant,
        family: family.map(|family| family.id),
        offline,
        session: Some(code.session),
        authentication: &code.authentication,
        scopes: &code.scopes,
        audience,
        claims: &code.claims,
    };
    let refresh_token = family
        .map(|family| first_refresh_token(&code, family, context).seal(context, rng))
        .transpose()
        .map_err(MintError::Seal)?;
    respond(context, rng, &grant, code.nonce.as_deref(), refresh_token)
}

/// What a code exchange and a refresh have in common: the tokens about a person.
pub(crate) fn respond(
    context: &Context<'_>,
    rng: Randomness<'_>,
    grant: &PersonGrant<'_>,
    nonce: Option<&str>,
    refresh_token: Option<String>,
) -> Result<TokenResponse, TokenError> {
    let access_token = mint::person_access_token(context, rng, grant)?;
    let id_token = grant
        .scopes
        .iter()
        .any(|scope| scope == "openid")
        .then(|| mint::id_token(context, grant, nonce, &access_token))
        .transpose()?;
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in_seconds: grant.client.tokens.lifetimes.access.as_secs(),
        refresh_token,
        id_token,
        scope: grant.scopes.join(" "),
    })
}

/// Everything that the code and the request say, before anything is spent.
fn check(
    context: &Context<'_>,
    client: &Client,
    code: &AuthorizationCode,
    parameters: &Parameters,
) -> Result<(), TokenError> {
    let predates = context.predates_realm(code.issued_at) || context.predates_realm(code.authentication.time);
    if code.client_id != client.client_id || code.expires_at <= context.now || predates {
        return Err(INVALID);
    }
    if code.redirect_uri.as_deref() != parameters.get("redirect_uri") {
        return Err(TokenError::InvalidGrant(
            "redirect_uri is not the one of the authorization request",
        ));
    }
    let proven = match (&code.code_challenge, parameters.get("code_verifier")) {
        (Some(challenge), Some(verifier)) => pkce::verifies(verifier, challenge),
        // A verifier without a challenge means that somebody removed the challenge (RFC 9700 §4.8.2).
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => !client.pkce_required && client.authentication != ClientAuthentication::None,
    };
    if !proven {
        return Err(TokenError::InvalidGrant(
            "code_verifier does not match the code_challenge",
        ));
    }
    Ok(())
}

/// The token request may narrow down what the authorization request asked for (RFC 8707 §2.2).
fn audience(
    context: &Context<'_>,
    client: &Client,
    code: &AuthorizationCode,
    parameters: &Parameters,
) -> Result<Audience, TokenError> {
    let granted: Vec<&str> = code.resources.iter().map(String::as_str).collect();
    let resources = narrow_resources(&granted, parameters)?;
    Ok(Audience::choose(context.issuer(), client, &resources, &code.scopes)?)
}

/// The `resource` parameters of a token request, within those that were granted, when some were.
pub(crate) fn narrow_resources<'p>(
    granted: &[&'p str],
    parameters: &'p Parameters,
) -> Result<Vec<&'p str>, TokenError> {
    let requested: Vec<&str> = parameters.all("resource").collect();
    if requested.is_empty() {
        return Ok(granted.to_vec());
    }
    if !granted.is_empty() && !requested.iter().all(|resource| granted.contains(resource)) {
        return Err(TokenError::InvalidTarget);
    }
    Ok(requested)
}

fn new_family(
    context: &Context<'_>,
    rng: Randomness<'_>,
    client: &Client,
    code: &AuthorizationCode,
) -> Option<NewFamily> {
    client
        .grant_types
        .contains(&GrantType::RefreshToken)
        .then(|| NewFamily {
            id: FamilyId::generate(context.now, rng),
            expires_at: context.now.after(client.tokens.lifetimes.refresh),
            offline: code.scopes.iter().any(|scope| scope == "offline_access"),
        })
}

async fn spend(
    context: &Context<'_>,
    client: &Client,
    code: &AuthorizationCode,
    family: Option<NewFamily>,
    request: RequestId,
) -> Result<Box<Person>, TokenError> {
    let redemption = CodeRedemption {
        code: code.id,
        code_expires_at: code.expires_at.after(client.tokens.lifetimes.access),
        request,
        grant: code.grant,
        client_id: &client.client_id,
        person: code.person,
        epoch: code.epoch,
        session: code.session,
        scopes: &code.scopes,
        family,
        now: context.now,
    };
    let outcome = context.store.redeem_code(context.realm_id(), redemption).await;
    match outcome.map_err(TokenError::Unavailable)? {
        RedemptionOutcome::Redeemed(person) => Ok(person),
        RedemptionOutcome::NotAuthorized => Err(INVALID),
        RedemptionOutcome::Replayed { grant } => {
            revoke_grant(context, client, grant).await?;
            Err(INVALID)
        }
    }
}

/// RFC 6749 §4.1.2: a code used twice takes everything with it that was issued for it.
async fn revoke_grant(context: &Context<'_>, client: &Client, grant: GrantId) -> Result<(), TokenError> {
    let revocations = [Revocation {
        what: Revoked::Grant(grant),
        expires_at: context
            .now
            .after(client.tokens.lifetimes.access)
            .after(REVOCATION_MARGIN),
    }];
    let recorded = context
        .store
        .revoke(context.realm_id(), &revocations, context.now)
        .await;
    recorded.map_err(TokenError::Unavailable)?;
    context.revocations.record(revocations);
    Ok(())
}

fn first_refresh_token(code: &AuthorizationCode, family: NewFamily, context: &Context<'_>) -> RefreshToken {
    RefreshToken {
        family: family.id,
        sequence: 0,
        client_id: code.client_id.clone(),
        grant: code.grant,
        person: code.person,
        epoch: code.epoch,
        session: (!family.offline).then_some(code.session),
        authentication: code.authentication.clone(),
        scopes: code.scopes.clone(),
        resources: code.resources.clone(),
        claims: code.claims.clone(),
        issued_at: context.now,
        expires_at: family.expires_at,
    }
}
