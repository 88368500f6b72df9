//! The token endpoint (RFC 6749 §3.2): authenticates the client, reads the grant into a closed set, and hands over to
//! the grant's module.

use std::borrow::Cow;

use serde::Serialize;

use crate::audience::InvalidTarget;
use crate::client_authentication::{self, AuthenticatedClient, ClientAuthenticationError};
use crate::config::GrantType;
use crate::context::{Context, Randomness};
use crate::grant::{authorization_code, client_credentials, refresh_token};
use crate::id::RequestId;
use crate::mint::MintError;
use crate::parameters::{ParameterError, Parameters};
use crate::store::StoreError;

/// A request to the token endpoint.
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    /// The `Authorization` header, when sent.
    pub authorization: Option<&'a str>,
    /// The body, `application/x-www-form-urlencoded`.
    pub body: &'a [u8],
    /// This request; the same id when the server repeats a statement after a lost reply.
    pub request: RequestId,
}

/// Without credentials, codes and tokens.
impl std::fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequest")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// A successful answer (RFC 6749 §5.1). Serialises to its body; must be sent with `no-store`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// Always `Bearer` (RFC 6750).
    pub token_type: &'static str,
    /// Lifetime of the access token.
    #[serde(rename = "expires_in")]
    pub expires_in_seconds: u64,
    /// The refresh token, when there is a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The ID token, when `openid` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// The scopes granted, separated by spaces.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in_seconds", &self.expires_in_seconds)
            .field("refresh_token", &self.refresh_token.is_some())
            .field("id_token", &self.id_token.is_some())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// An error answer of the token endpoint (RFC 6749 §5.2), whose shape the revocation and introspection endpoints share
/// (RFC 7009 §2.2.1, RFC 7662 §2.3).
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Malformed, or contradictory.
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    /// The client is not authenticated. Answered with 401 and [`TokenError::challenge`].
    #[error(transparent)]
    InvalidClient(client_authentication::Rejection),
    /// The code or refresh token is no good, or is another client's.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// The client may not use this grant.
    #[error("the client may not use this grant type")]
    UnauthorizedClient,
    /// Unknown `grant_type`.
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// `scope` asks for more than there is.
    #[error("the scope is unknown, malformed, or more than was granted")]
    InvalidScope,
    /// `resource` asks for something that the client has no access to (RFC 8707 §2).
    #[error("the resource is unknown to this client")]
    InvalidTarget,
    /// The store does not answer. Answered with 503 and `Retry-After`.
    #[error("the service cannot answer now")]
    Unavailable(#[source] StoreError),
    /// What is revoked is not known well enough. Answered with 503 and `Retry-After`.
    #[error("revocations are not known at present")]
    Stale,
    /// The realm's keys are not what its configuration promises. Answered with 500.
    #[error("no token could be made")]
    Mint(#[from] MintError),
}

impl TokenError {
    /// The `error` member.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::Unavailable(_) | Self::Stale => "temporarily_unavailable",
            Self::Mint(_) => "server_error",
        }
    }

    /// The `error_description` member: a fixed sentence that reveals nothing.
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::InvalidRequest(sentence) => sentence.clone(),
            Self::InvalidGrant(sentence) => Cow::Borrowed(sentence),
            Self::InvalidClient(_) => Cow::Borrowed("client authentication failed"),
            Self::Unavailable(_) | Self::Stale => Cow::Borrowed("the service cannot answer now, try again later"),
            Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::Mint(_) => Cow::Owned(self.to_string()),
        }
    }

    /// The `WWW-Authenticate` header of a 401 (RFC 6749 §5.2).
    pub fn challenge(&self, issuer: &str) -> Option<String> {
        matches!(self, Self::InvalidClient(_)).then(|| format!("Basic realm=\"{issuer}\", charset=\"UTF-8\""))
    }
}

impl From<ParameterError> for TokenError {
    fn from(error: ParameterError) -> Self {
        Self::InvalidRequest(error.to_string().into())
    }
}

impl From<ClientAuthenticationError> for TokenError {
    fn from(error: ClientAuthenticationError) -> Self {
        match error {
            ClientAuthenticationError::InvalidRequest(sentence) => Self::InvalidRequest(sentence.into()),
            ClientAuthenticationError::Failed(rejection) => Self::InvalidClient(rejection),
            ClientAuthenticationError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<InvalidTarget> for TokenError {
    fn from(InvalidTarget: InvalidTarget) -> Self {
        Self::InvalidTarget
    }
}

/// Answers a token request. Statements and signatures: code exchange 1 and at most 2, refresh 1 and at most 2, client
/// credentials 0 and at most 1; `private_key_jwt` adds one statement.
pub async fn respond(
    context: &Context<'_>,
    rng: Randomness<'_>,
    request: TokenRequest<'_>,
) -> Result<TokenResponse, TokenError> {
    let parameters = Parameters::parse(request.body)?;
    let client = client_authentication::authenticate(context, request.authorization, &parameters).await?;
    match grant_type(&client, &parameters)? {
        GrantType::AuthorizationCode => {
            authorization_code::exchange(context, rng, &client, &parameters, request.request).await
        }
        GrantType::RefreshToken => refresh_token::exchange(context, rng, &client, &parameters).await,
        GrantType::ClientCredentials => client_credentials::exchange(context, rng, &client, &parameters),
    }
}

fn grant_type(client: &AuthenticatedClient, parameters: &Parameters) -> Result<GrantType, TokenError> {
    let name = required(parameters, "grant_type")?;
    let grant_types = [
        GrantType::AuthorizationCode,
        GrantType::RefreshToken,
        GrantType::ClientCredentials,
    ];
    let grant_type = grant_types
        .into_iter()
        .find(|grant_type| grant_type.name() == name)
        .ok_or(TokenError::UnsupportedGrantType)?;
    if client.client().grant_types.contains(&grant_type) {
        Ok(grant_type)
    } else {
        Err(TokenError::UnauthorizedClient)
    }
}

/// A parameter that the request must have.
pub(crate) fn required<'p>(parameters: &'p Parameters, name: &'static str) -> Result<&'p str, TokenError> {
    parameters
        .get(name)
        .ok_or_else(|| TokenError::InvalidRequest(format!("parameter {name} is missing").into()))
}

#[cfg(test)]
mod tests;
