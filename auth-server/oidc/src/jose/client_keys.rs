//! The keys of a client that signs assertions: a JWK Set from its configuration (RFC 7517 §5).

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::{Compact, JwsError, Verifier};
use crate::config::SignatureAlgorithm;

/// Keys tried for an assertion that names none.
const MAX_CANDIDATES: usize = 8;

/// A client's JWK Set. Verifiers are made of it on first use and kept as long as the client's configuration.
pub struct ClientKeys {
    jwks: Box<str>,
    keys: OnceLock<Vec<ClientKey>>,
}

/// One usable key.
struct ClientKey {
    kid: Option<Box<str>>,
    /// One for each algorithm that the key fits.
    verifiers: Vec<Verifier>,
}

impl ClientKeys {
    /// Takes up a JWK Set. Nothing is read yet.
    pub fn new(jwks: impl Into<Box<str>>) -> Self {
        Self {
            jwks: jwks.into(),
            keys: OnceLock::new(),
        }
    }

    /// The JWK Set as configured, JSON.
    pub fn as_str(&self) -> &str {
        &self.jwks
    }

    /// The payload of `token`, signed by one of the keys.
    ///
    /// Only asymmetric algorithms can be named; the key must be of the type that the algorithm needs, and fit its own
    /// `use`, `key_ops` and `alg`. With a `kid`, only keys of that `kid` count.
    pub(crate) fn verify(&self, token: &Compact<'_>) -> Result<Vec<u8>, JwsError> {
        let algorithm = token.algorithm()?;
        let candidates = self
            .keys
            .get_or_init(|| keys(&self.jwks))
            .iter()
            .filter(|key| token.kid().is_none_or(|kid| key.kid.as_deref() == Some(kid)))
            .filter_map(|key| key.verifiers.iter().find(|verifier| verifier.algorithm == algorithm))
            .take(MAX_CANDIDATES);
        let mut outcome = Err(JwsError::UnknownKey);
        for verifier in candidates {
            outcome = token.verify(verifier);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

fn keys(jwks: &str) -> Vec<ClientKey> {
    let Ok(Value::Object(mut set)) = serde_json::from_str(jwks) else {
        return Vec::new();
    };
    let Some(Value::Array(keys)) = set.remove("keys") else {
        return Vec::new();
    };
    keys.into_iter()
        .filter_map(|key| match key {
            Value::Object(jwk) => Some(client_key(&jwk)),
            _ => None,
        })
        .collect()
}

fn client_key(jwk: &Map<String, Value>) -> ClientKey {
    let verifier = |algorithm| Verifier::from_jwk(algorithm, jwk.clone()).ok();
    ClientKey {
        kid: jwk.get("kid").and_then(Value::as_str).map(Into::into),
        verifiers: SignatureAlgorithm::ALL.into_iter().filter_map(verifier).collect(),
    }
}

impl Clone for ClientKeys {
    fn clone(&self) -> Self {
        Self::new(self.jwks.clone())
    }
}

impl PartialEq for ClientKeys {
    fn eq(&self, other: &Self) -> bool {
        self.jwks == other.jwks
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientKeys").field(&self.jwks).finish()
    }
}
