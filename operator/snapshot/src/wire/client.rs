//! Wire form of a client.

use std::sync::Arc;

use oidc::config;
use oidc::id::RealmId;
use serde::{Deserialize, Serialize};

use super::realm::is_scope_token;
use super::{
    Bytes, Payload, ResourceError, WireAlgorithm, WireLogo, WireTokenRules, all, check, is_https, is_line, is_uri,
};
use crate::id::is_client_id;

/// Largest JWK Set of a client, bytes.
const JWKS_BYTES: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Client {
    realm: RealmId,
    #[serde(rename = "clientId")]
    id: String,
    name: String,
    display_name: String,
    logo: Option<WireLogo>,
    policy_uri: Option<String>,
    tos_uri: Option<String>,
    authentication: Authentication,
    redirect_uris: Box<[String]>,
    post_logout_redirect_uris: Box<[String]>,
    allowed_origins: Box<[String]>,
    grant_types: Vec<Grant>,
    scopes: Arc<[String]>,
    default_scopes: Arc<[String]>,
    audiences: Arc<[String]>,
    pkce_required: bool,
    tokens: Tokens,
    consent: Consent,
}

/// What a client resource says about the secrets of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecrets {
    /// Namespace and name of the custom resource that it came from.
    pub name: String,
    /// What servers accept.
    pub accepted: Vec<config::SecretHash>,
}

impl ClientSecrets {
    /// Reads nothing but them, which takes a fraction of [`crate::decode`]; `None` for anything but a client with secrets.
    pub fn of(payload: &Payload) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum Part {
            Client {
                name: String,
                authentication: Authentication,
            },
        }
        let Part::Client { name, authentication } = serde_json::from_slice(payload.bytes()).ok()?;
        let (config::ClientAuthentication::SecretBasic(accepted) | config::ClientAuthentication::SecretPost(accepted)) =
            authentication.try_into().ok()?
        else {
            return None;
        };
        Some(Self { name, accepted })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Authentication {
    None,
    SecretBasic(Vec<Bytes>),
    SecretPost(Vec<Bytes>),
    PrivateKeyJwt { jwks: String },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Grant {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tokens {
    format: Format,
    lifetimes: WireTokenRules,
    id_token_algorithm: WireAlgorithm,
    access_token_algorithm: WireAlgorithm,
    rotate_refresh: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Format {
    Jwt,
    Opaque,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Consent {
    Ask,
    Remember,
    Skip,
}

impl From<&config::Client> for Client {
    fn from(client: &config::Client) -> Self {
        let config::Client {
            realm,
            client_id,
            name,
            display_name,
            logo,
            policy_uri,
            tos_uri,
            authentication,
            redirect_uris,
            post_logout_redirect_uris,
            allowed_origins,
            grant_types,
            scopes,
            default_scopes,
            audiences,
            pkce_required,
            tokens,
            consent,
        } = client;
        Self {
            realm: *realm,
            id: client_id.clone(),
            name: name.clone(),
            display_name: display_name.clone(),
            logo: logo.as_deref().map(Into::into),
            policy_uri: policy_uri.clone(),
            tos_uri: tos_uri.clone(),
            authentication: authentication.into(),
            redirect_uris: redirect_uris.clone(),
            post_logout_redirect_uris: post_logout_redirect_uris.clone(),
            allowed_origins: allowed_origins.clone(),
            grant_types: grant_types.iter().map(|grant| (*grant).into()).collect(),
            scopes: scopes.clone(),
            default_scopes: default_scopes.clone(),
            audiences: audiences.clone(),
            pkce_required: *pkce_required,
            tokens: tokens.as_ref().into(),
            consent: (*consent).into(),
        }
    }
}

impl TryFrom<Client> for config::Client {
    type Error = ResourceError;

    fn try_from(wire: Client) -> Result<Self, ResourceError> {
        let Client {
            realm,
            id: client_id,
            name,
            display_name,
            logo,
            policy_uri,
            tos_uri,
            authentication,
            redirect_uris,
            post_logout_redirect_uris,
            allowed_origins,
            grant_types,
            scopes,
            default_scopes,
            audiences,
            pkce_required,
            tokens,
            consent,
        } = wire;
        check(is_client_id(&client_id), "client.clientId")?;
        check(is_line(&name, 512), "client.name")?;
        check(is_line(&display_name, 512), "client.displayName")?;
        check(policy_uri.as_deref().is_none_or(is_https), "client.policyUri")?;
        check(tos_uri.as_deref().is_none_or(is_https), "client.tosUri")?;
        // RFC 6749 §3.1.2: no fragment.
        let is_target = |uri: &String| is_uri(uri) && !uri.contains('#');
        all(&redirect_uris, is_target, "client.redirectUris")?;
        all(&post_logout_redirect_uris, is_target, "client.postLogoutRedirectUris")?;
        all(&allowed_origins, |origin| is_uri(origin), "client.allowedOrigins")?;
        let is_audience = |audience: &String| !audience.is_empty() && is_line(audience, 2048);
        all(&audiences, is_audience, "client.audiences")?;
        all(&scopes, |scope| is_scope_token(scope), "client.scopes")?;
        all(&default_scopes, |scope| scopes.contains(scope), "client.defaultScopes")?;
        Ok(Self {
            realm,
            client_id,
            name,
            display_name,
            logo: logo.map(config::Logo::try_from).transpose()?.map(Box::new),
            policy_uri,
            tos_uri,
            authentication: authentication.try_into()?,
            redirect_uris,
            post_logout_redirect_uris,
            allowed_origins,
            grant_types: grant_types.into_iter().map(Into::into).collect(),
            scopes,
            default_scopes,
            audiences,
            pkce_required,
            tokens: config::ClientTokens::try_from(tokens)?.into(),
            consent: consent.into(),
        })
    }
}

impl From<&config::ClientAuthentication> for Authentication {
    fn from(authentication: &config::ClientAuthentication) -> Self {
        let hashes = |hashes: &[config::SecretHash]| {
            let bytes = |hash: &config::SecretHash| {
                let config::SecretHash(bytes) = hash;
                Bytes(bytes.to_vec())
            };
            hashes.iter().map(bytes).collect()
        };
        match authentication {
            config::ClientAuthentication::None => Self::None,
            config::ClientAuthentication::SecretBasic(secrets) => Self::SecretBasic(hashes(secrets)),
            config::ClientAuthentication::SecretPost(secrets) => Self::SecretPost(hashes(secrets)),
            config::ClientAuthentication::PrivateKeyJwt { jwks } => Self::PrivateKeyJwt {
                jwks: jwks.as_str().to_owned(),
            },
        }
    }
}

impl TryFrom<Authentication> for config::ClientAuthentication {
    type Error = ResourceError;

    fn try_from(wire: Authentication) -> Result<Self, ResourceError> {
        let hashes = |hashes: Vec<Bytes>| {
            let hash = |bytes: Bytes| {
                let bytes = <[u8; 32]>::try_from(bytes.0).map_err(|_| ResourceError::Invalid {
                    field: "client.authentication.secret",
                })?;
                Ok(config::SecretHash(bytes))
            };
            // By way of a slice, which has no room to spare.
            let hashes: Result<Box<[_]>, ResourceError> = hashes.into_iter().map(hash).collect();
            hashes.map(Vec::from)
        };
        match wire {
            Authentication::None => Ok(Self::None),
            Authentication::SecretBasic(secrets) => Ok(Self::SecretBasic(hashes(secrets)?)),
            Authentication::SecretPost(secrets) => Ok(Self::SecretPost(hashes(secrets)?)),
            Authentication::PrivateKeyJwt { jwks } => {
                check(is_jwks(&jwks), "client.authentication.jwks")?;
                Ok(Self::PrivateKeyJwt {
                    jwks: config::ClientKeys::new(jwks).into(),
                })
            }
        }
    }
}

/// The outer shape of a JWK Set (RFC 7517 §5); keys are judged where they are used.
fn is_jwks(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Jwks {
        keys: Vec<serde::de::IgnoredAny>,
    }
    text.len() <= JWKS_BYTES && serde_json::from_str::<Jwks>(text).is_ok_and(|jwks| !jwks.keys.is_empty())
}

impl From<config::GrantType> for Grant {
    fn from(grant: config::GrantType) -> Self {
        match grant {
            config::GrantType::AuthorizationCode => Self::AuthorizationCode,
            config::GrantType::RefreshToken => Self::RefreshToken,
            config::GrantType::ClientCredentials => Self::ClientCredentials,
        }
    }
}

impl From<Grant> for config::GrantType {
    fn from(wire: Grant) -> Self {
        match wire {
            Grant::AuthorizationCode => Self::AuthorizationCode,
            Grant::RefreshToken => Self::RefreshToken,
            Grant::ClientCredentials => Self::ClientCredentials,
        }
    }
}

impl From<&config::ClientTokens> for Tokens {
    fn from(tokens: &config::ClientTokens) -> Self {
        let config::ClientTokens {
            format,
            lifetimes,
            id_token_algorithm,
            access_token_algorithm,
            rotate_refresh,
        } = tokens;
        Self {
            format: match format {
                config::AccessTokenFormat::Jwt => Format::Jwt,
                config::AccessTokenFormat::Opaque => Format::Opaque,
            },
            lifetimes: lifetimes.into(),
            id_token_algorithm: (*id_token_algorithm).into(),
            access_token_algorithm: (*access_token_algorithm).into(),
            rotate_refresh: *rotate_refresh,
        }
    }
}

impl TryFrom<Tokens> for config::ClientTokens {
    type Error = ResourceError;

    fn try_from(wire: Tokens) -> Result<Self, ResourceError> {
        let Tokens {
            format,
            lifetimes,
            id_token_algorithm,
            access_token_algorithm,
            rotate_refresh,
        } = wire;
        Ok(Self {
            format: match format {
                Format::Jwt => config::AccessTokenFormat::Jwt,
                Format::Opaque => config::AccessTokenFormat::Opaque,
            },
            lifetimes: lifetimes.try_into()?,
            id_token_algorithm: id_token_algorithm.into(),
            access_token_algorithm: access_token_algorithm.into(),
            rotate_refresh,
        })
    }
}

impl From<config::ConsentRule> for Consent {
    fn from(rule: config::ConsentRule) -> Self {
        match rule {
            config::ConsentRule::Ask => Self::Ask,
            config::ConsentRule::Remember => Self::Remember,
            config::ConsentRule::Skip => Self::Skip,
        }
    }
}

impl From<Consent> for config::ConsentRule {
    fn from(wire: Consent) -> Self {
        match wire {
            Consent::Ask => Self::Ask,
            Consent::Remember => Self::Remember,
            Consent::Skip => Self::Skip,
        }
    }
}
