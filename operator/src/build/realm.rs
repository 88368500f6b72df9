//! The Secret with the keys of a Realm: the ones that [`crate::resolve`] has named as missing are generated here. Who
//! keeps it is the caller's.

use oidc::Timestamp;
use oidc::config::SignatureAlgorithm;
use oidc::id::RealmId;
use oidc::key_generation::{KeyGenerationError, generate_sealing_key, generate_signing_key};

use crate::resolve::keys::{empty_secret, sealing_entry, signing_entries};
use crate::resolve::{MissingKey, MissingKeys};
use crate::world::SecretObject;

/// The Secret with the keys of a realm, the missing ones added. RSA keys take up to a second.
pub fn new_keys(
    missing: &MissingKeys,
    present: Option<&SecretObject>,
    now: Timestamp,
) -> Result<SecretObject, KeyGenerationError> {
    with_keys(missing, present, now, generate_signing_key)
}

/// The same with keys of the given making.
pub(crate) fn with_keys<E>(
    missing: &MissingKeys,
    present: Option<&SecretObject>,
    now: Timestamp,
    signing_key: impl Fn(SignatureAlgorithm) -> Result<oidc::config::SigningKey, E>,
) -> Result<SecretObject, E> {
    let id = RealmId::of_issuer(missing.issuer.as_str());
    let mut secret = present
        .cloned()
        .unwrap_or_else(|| empty_secret(&missing.realm, &missing.issuer, id));
    for key in &missing.keys {
        match key {
            MissingKey::Signing(algorithm) => secret.data.extend(signing_entries(&signing_key(*algorithm)?, now)),
            MissingKey::Sealing => secret
                .data
                .extend([sealing_entry(&generate_sealing_key(&mut rand::rng()), now)]),
        }
    }
    Ok(secret)
}
