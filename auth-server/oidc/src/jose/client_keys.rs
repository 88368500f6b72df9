//! The keys of a client that signs assertions: a JWK Set from its configuration (RFC 7517 §5).

use serde_json::{Map, Value};

use super::{Compact, JwsError, Verifier};

/// Keys tried for an assertion that names none.
const MAX_CANDIDATES: usize = 8;

/// The payload of `token`, signed by one of the keys in `jwks`.
///
/// Only asymmetric algorithms can be named; the key must be of the type that the algorithm needs, and fit its own
/// `use`, `key_ops` and `alg`. With a `kid`, only keys of that `kid` count.
pub(crate) fn verify(jwks: &str, token: &Compact<'_>) -> Result<Vec<u8>, JwsError> {
    let algorithm = token.algorithm()?;
    let candidates: Vec<Verifier> = keys(jwks)
        .into_iter()
        .filter(|jwk| {
            token
                .kid()
                .is_none_or(|kid| jwk.get("kid").and_then(Value::as_str) == Some(kid))
        })
        .filter_map(|jwk| Verifier::from_jwk(algorithm, jwk).ok())
        .take(MAX_CANDIDATES)
        .collect();
    let mut outcome = Err(JwsError::UnknownKey);
    for verifier in &candidates {
        outcome = token.verify(verifier);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn keys(jwks: &str) -> Vec<Map<String, Value>> {
    let Ok(Value::Object(mut set)) = serde_json::from_str(jwks) else {
        return Vec::new();
    };
    let Some(Value::Array(keys)) = set.remove("keys") else {
        return Vec::new();
    };
    keys.into_iter()
        .filter_map(|key| match key {
            Value::Object(jwk) => Some(jwk),
            _ => None,
        })
        .collect()
}
