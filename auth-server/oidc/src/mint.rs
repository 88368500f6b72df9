//! Making tokens: the last step of a grant, after everything is checked and spent.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::access_token::{AccessToken, PersonClaims};
use crate::audience::Audience;
use crate::claims::{self, ClaimsRequest};
use crate::code::Authentication;
use crate::config::{AccessTokenFormat, Client, SignatureAlgorithm};
use crate::context::{Context, Randomness};
use crate::id::{FamilyId, GrantId, SessionId, TokenId};
use crate::jose::TokenType;
use crate::keys::SignError;
use crate::person::Person;
use crate::seal::{Purpose, SealError};

/// A token that could not be made: the realm's keys are not what its configuration promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Not signed.
    #[error("a token could not be signed")]
    Sign(#[from] SignError),
    /// Not sealed.
    #[error("a token could not be sealed")]
    Seal(#[from] SealError),
}

/// What a person granted a client.
pub(crate) struct PersonGrant<'a> {
    pub(crate) client: &'a Client,
    pub(crate) person: &'a Person,
    pub(crate) grant: GrantId,
    pub(crate) family: Option<FamilyId>,
    /// Whether tokens outlive the session.
    pub(crate) offline: bool,
    pub(crate) session: Option<SessionId>,
    pub(crate) authentication: &'a Authentication,
    pub(crate) scopes: &'a [String],
    pub(crate) audience: Audience,
    pub(crate) claims: &'a ClaimsRequest,
}

/// An access token about a client itself (RFC 6749 §4.4). One signature.
pub(crate) fn client_access_token(
    context: &Context<'_>,
    rng: Randomness<'_>,
    client: &Client,
    audience: Audience,
    scopes: &[String],
) -> Result<String, MintError> {
    let token = unsigned(context, rng, client, audience, scopes, client.client_id.clone());
    access_token(context, rng, client, &token)
}

/// An access token about a person. One signature.
pub(crate) fn person_access_token(
    context: &Context<'_>,
    rng: Randomness<'_>,
    grant: &PersonGrant<'_>,
) -> Result<String, MintError> {
    let audience = grant.audience.clone();
    let permitted = grant.claims.clone().permitted(context.realm(), grant.client);
    let subject = grant.person.id.to_string();
    let mut token = unsigned(context, rng, grant.client, audience, grant.scopes, subject);
    token.person = Some(PersonClaims {
        auth_time: grant.authentication.time.unix_seconds(),
        acr: grant.authentication.context.clone(),
        amr: grant.authentication.methods.clone(),
        sid: grant.session.filter(|_| !grant.offline),
        grant: grant.grant,
        family: grant.family,
        epoch: grant.person.epoch,
        userinfo_claims: permitted.userinfo,
    });
    access_token(context, rng, grant.client, &token)
}

fn unsigned(
    context: &Context<'_>,
    rng: Randomness<'_>,
    client: &Client,
    audience: Audience,
    scopes: &[String],
    subject: String,
) -> AccessToken {
    AccessToken {
        iss: context.issuer().to_owned(),
        sub: subject,
        aud: audience,
        client_id: client.client_id.clone(),
        exp: context.now.after(client.tokens.lifetimes.access).unix_seconds(),
        iat: context.now.unix_seconds(),
        jti: TokenId::generate(context.now, rng),
        scope: scopes.join(" "),
        person: None,
    }
}

fn access_token(
    context: &Context<'_>,
    rng: Randomness<'_>,
    client: &Client,
    token: &AccessToken,
) -> Result<String, MintError> {
    Ok(match client.tokens.format {
        AccessTokenFormat::Jwt => {
            let claims = serde_json::to_vec(token).map_err(|_| SignError::Claims)?;
            let algorithm = client.tokens.access_token_algorithm;
            context.keys().sign(algorithm, TokenType::AccessToken, &claims)?
        }
        AccessTokenFormat::Opaque => context.keys().sealer().seal(Purpose::AccessToken, token, rng)?,
    })
}

#[derive(Serialize)]
struct IdToken<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    at_hash: String,
    #[serde(flatten)]
    claims: Map<String, Value>,
}

/// An ID token (OpenID Connect Core 1.0 §2). Its one audience is the client, so it needs no `azp`. One signature.
pub(crate) fn id_token(
    context: &Context<'_>,
    grant: &PersonGrant<'_>,
    nonce: Option<&str>,
    access_token: &str,
) -> Result<String, MintError> {
    let algorithm = grant.client.tokens.id_token_algorithm;
    let permitted = grant.claims.clone().permitted(context.realm(), grant.client);
    let wanted = permitted.id_token.iter().map(String::as_str);
    let token = IdToken {
        iss: context.issuer(),
        sub: grant.person.id.to_string(),
        aud: &grant.client.client_id,
        exp: context.now.after(grant.client.tokens.lifetimes.id).unix_seconds(),
        iat: context.now.unix_seconds(),
        auth_time: grant.authentication.time.unix_seconds(),
        nonce,
        acr: grant.authentication.context.as_deref(),
        amr: &grant.authentication.methods,
        sid: grant.session,
        at_hash: half_hash(algorithm, access_token),
        claims: claims::of_person(grant.person, wanted),
    };
    let claims = serde_json::to_vec(&token).map_err(|_| SignError::Claims)?;
    Ok(context.keys().sign(algorithm, TokenType::IdToken, &claims)?)
}

/// `at_hash` (OpenID Connect Core 1.0 §3.1.3.6): the left half of the hash that belongs to the algorithm.
fn half_hash(algorithm: SignatureAlgorithm, text: &str) -> String {
    let hash = match algorithm {
        SignatureAlgorithm::Es256 | SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256 => &digest::SHA256,
        SignatureAlgorithm::EdDsa => &digest::SHA512,
    };
    let digest = digest::digest(hash, text.as_bytes());
    let half = digest.as_ref().len() / 2;
    URL_SAFE_NO_PAD.encode(digest.as_ref().get(..half).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_hash_of_the_core_specification_s_example_is_the_specification_s() {
        // OpenID Connect Core 1.0, appendix A.3.
        let access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(
            half_hash(SignatureAlgorithm::Rs256, access_token),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
    }
}
