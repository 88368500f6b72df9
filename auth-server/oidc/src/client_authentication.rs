//! Who calls the token, revocation and introspection endpoints (RFC 6749 §2.3, RFC 7523, OpenID Connect Core 1.0 §9).
//!
//! [`AuthenticatedClient`] can be made nowhere else, so holding one is the proof. A client uses exactly the method that
//! it is registered for; an unknown client and a wrong secret give the same answer after the same work.

mod assertion;
mod basic;

use std::sync::Arc;

use aws_lc_rs::digest;
use subtle::ConstantTimeEq as _;

use self::assertion::Assertion;
pub use self::assertion::AssertionError;
use crate::config::{Client, ClientAuthentication, SecretHash};
use crate::context::Context;
use crate::parameters::Parameters;
use crate::store::StoreError;

/// `client_assertion_type` of `private_key_jwt` (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What secrets of unknown clients are compared with; nothing hashes to it.
const NOTHING: SecretHash = SecretHash([0; 32]);

/// A client that proved who it is, or a public one that said so.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    client: Arc<Client>,
}

impl AuthenticatedClient {
    /// The client as configured.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether it only said who it is.
    pub fn is_public(&self) -> bool {
        self.client.authentication == ClientAuthentication::None
    }
}

/// Why a client is not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum ClientAuthenticationError {
    /// More than one method, or parameters that contradict each other (RFC 6749 §2.3).
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The reason is for logs; the client is told one sentence whatever it is.
    #[error("client authentication failed")]
    Failed(#[source] Rejection),
    /// A replay cannot be ruled out now.
    #[error("client authentication cannot be completed")]
    Unavailable(#[source] StoreError),
}

/// Why credentials were rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No `client_id` and no credentials.
    #[error("no client is named")]
    NoClient,
    /// An `Authorization` header that is not well-formed Basic.
    #[error("the authorization header is malformed")]
    MalformedHeader,
    /// A `client_assertion_type` that is not supported.
    #[error("the assertion type is not supported")]
    AssertionType,
    /// No such client, not the registered method, or a wrong secret.
    #[error("unknown client, other method than registered, or wrong secret")]
    WrongCredentials,
    /// A public client where none may call.
    #[error("a public client may not call this")]
    Public,
    /// The assertion is not acceptable.
    #[error("the assertion is not acceptable")]
    Assertion(#[from] AssertionError),
}

impl From<Rejection> for ClientAuthenticationError {
    fn from(rejection: Rejection) -> Self {
        Self::Failed(rejection)
    }
}

/// The credentials of a request, nothing about them believed yet.
enum Credentials<'a> {
    None {
        client_id: &'a str,
    },
    Basic {
        client_id: String,
        secret: String,
    },
    Post {
        client_id: &'a str,
        secret: &'a str,
    },
    Assertion {
        client_id: Option<&'a str>,
        assertion: &'a str,
    },
}

/// Authenticates the caller from its `Authorization` header and form parameters.
pub async fn authenticate(
    context: &Context<'_>,
    authorization: Option<&str>,
    parameters: &Parameters,
) -> Result<AuthenticatedClient, ClientAuthenticationError> {
    let client = match credentials(authorization, parameters)? {
        Credentials::None { client_id } => find(context, client_id)
            .filter(|client| client.authentication == ClientAuthentication::None)
            .ok_or(Rejection::WrongCredentials)?,
        Credentials::Basic { client_id, secret } => by_secret(context, &client_id, &secret, |authentication| {
            if let ClientAuthentication::SecretBasic(hashes) = authentication {
                Some(hashes)
            } else {
                None
            }
        })?,
        Credentials::Post { client_id, secret } => by_secret(context, client_id, secret, |authentication| {
            if let ClientAuthentication::SecretPost(hashes) = authentication {
                Some(hashes)
            } else {
                None
            }
        })?,
        Credentials::Assertion { client_id, assertion } => by_assertion(context, client_id, assertion).await?,
    };
    Ok(AuthenticatedClient {
        client: Arc::clone(client),
    })
}

/// Like [`authenticate`], for endpoints that public clients may not call.
pub async fn authenticate_confidential(
    context: &Context<'_>,
    authorization: Option<&str>,
    parameters: &Parameters,
) -> Result<AuthenticatedClient, ClientAuthenticationError> {
    let client = authenticate(context, authorization, parameters).await?;
    if client.is_public() {
        return Err(Rejection::Public.into());
    }
    Ok(client)
}

/// The client that a request claims to come from, for deciding which origins may read the answer. Proves nothing.
pub fn claimed_client<'a>(context: &Context<'a>, authorization: Option<&str>, body: &[u8]) -> Option<&'a Arc<Client>> {
    let parameters = Parameters::parse(body).ok()?;
    match credentials(authorization, &parameters).ok()? {
        Credentials::None { client_id } | Credentials::Post { client_id, .. } => find(context, client_id),
        Credentials::Basic { client_id, .. } => find(context, &client_id),
        Credentials::Assertion { client_id, assertion } => {
            let named = client_id
                .map(str::to_owned)
                .or_else(|| assertion::claimed_subject(assertion))?;
            find(context, &named)
        }
    }
}

fn find<'a>(context: &Context<'a>, client_id: &str) -> Option<&'a Arc<Client>> {
    context.served.client(client_id)
}

/// Which method a request uses: exactly one (RFC 6749 §2.3).
fn credentials<'a>(
    authorization: Option<&str>,
    parameters: &'a Parameters,
) -> Result<Credentials<'a>, ClientAuthenticationError> {
    let client_id = parameters.get("client_id");
    let secret = parameters.get("client_secret");
    let assertion = parameters.get("client_assertion");
    let methods = [authorization.is_some(), secret.is_some(), assertion.is_some()];
    if methods.into_iter().filter(|used| *used).count() > 1 {
        let sentence = "more than one client authentication method is used";
        return Err(ClientAuthenticationError::InvalidRequest(sentence));
    }
    if let Some(header) = authorization {
        let (basic_id, secret) = basic::parse(header).ok_or(Rejection::MalformedHeader)?;
        if client_id.is_some_and(|client_id| client_id != basic_id) {
            let sentence = "client_id differs from the authorization header";
            return Err(ClientAuthenticationError::InvalidRequest(sentence));
        }
        return Ok(Credentials::Basic {
            client_id: basic_id,
            secret,
        });
    }
    if let Some(assertion) = assertion {
        if parameters.get("client_assertion_type") != Some(JWT_BEARER) {
            return Err(Rejection::AssertionType.into());
        }
        return Ok(Credentials::Assertion { client_id, assertion });
    }
    let client_id = client_id.ok_or(Rejection::NoClient)?;
    Ok(match secret {
        Some(secret) => Credentials::Post { client_id, secret },
        None => Credentials::None { client_id },
    })
}

/// The client of that id and method whose secret this is. An unknown client costs the same hash and comparison.
fn by_secret<'a>(
    context: &Context<'a>,
    client_id: &str,
    secret: &str,
    hashes_of: impl Fn(&'a ClientAuthentication) -> Option<&'a Vec<SecretHash>>,
) -> Result<&'a Arc<Client>, Rejection> {
    let client = find(context, client_id);
    let registered = client.and_then(|client| hashes_of(&client.authentication));
    let hashes = registered.map_or([NOTHING].as_slice(), Vec::as_slice);
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    let matches = hashes.iter().fold(subtle::Choice::from(0), |found, hash| {
        found | digest.as_ref().ct_eq(&hash.0)
    });
    client
        .filter(|_| registered.is_some() && bool::from(matches))
        .ok_or(Rejection::WrongCredentials)
}

/// `private_key_jwt`: everything is checked before the assertion counts as used.
async fn by_assertion<'a>(
    context: &Context<'a>,
    client_id: Option<&str>,
    assertion: &str,
) -> Result<&'a Arc<Client>, ClientAuthenticationError> {
    let claimed = assertion::claimed_subject(assertion).ok_or(Rejection::Assertion(AssertionError::Malformed))?;
    if client_id.is_some_and(|client_id| client_id != claimed) {
        let sentence = "client_id differs from the client assertion";
        return Err(ClientAuthenticationError::InvalidRequest(sentence));
    }
    let client = find(context, &claimed).ok_or(Rejection::WrongCredentials)?;
    let ClientAuthentication::PrivateKeyJwt { jwks } = &client.authentication else {
        return Err(Rejection::WrongCredentials.into());
    };
    let Assertion { jti, replayable_until } =
        assertion::verify(context, client, jwks, assertion).map_err(Rejection::Assertion)?;
    let fresh = context
        .store
        .use_once(context.realm_id(), &client.client_id, &jti, replayable_until)
        .await
        .map_err(ClientAuthenticationError::Unavailable)?;
    if !fresh {
        return Err(Rejection::Assertion(AssertionError::Replayed).into());
    }
    Ok(client)
}

#[cfg(test)]
mod tests;
