//! Keys and client secrets that [`crate::resolve`] has named as missing: generated here, kept by the caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use oidc::Timestamp;
use oidc::config::SignatureAlgorithm;
use oidc::id::RealmId;
use oidc::key_generation::{KeyGenerationError, generate_sealing_key, generate_signing_key};

use crate::credentials;
use crate::resolve::keys::{empty_secret, sealing_entry, signing_entries};
use crate::resolve::{MissingClientSecret, MissingKey, MissingKeys};
use crate::world::{SecretObject, World};

/// Bytes of a generated client secret: 256 bits, so that servers may keep a plain hash.
const CLIENT_SECRET_BYTES: usize = 32;

/// The Secret with the keys of a realm, the missing ones added. RSA keys take up to a second.
pub fn realm_keys(
    missing: &MissingKeys,
    present: Option<&SecretObject>,
    now: Timestamp,
) -> Result<SecretObject, KeyGenerationError> {
    with_keys(missing, present, now, generate_signing_key)
}

/// The Secret of a Client with a new client secret. What else the Secret holds stays.
pub fn client_secret(missing: &MissingClientSecret, present: Option<&SecretObject>) -> SecretObject {
    let mut bytes = [0; CLIENT_SECRET_BYTES];
    rand::fill(&mut bytes);
    let mut secret = credentials::generated(&missing.client, BASE64URL.encode(bytes));
    if let Some(present) = present {
        for (key, value) in &present.data {
            secret.data.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    secret
}

/// Fills in what is missing with values of the right shape that nobody may use: `validate` judges a folder as if
/// everything was generated already.
pub(crate) fn placeholders(world: &mut World, keys: &[MissingKeys], secrets: &[MissingClientSecret]) {
    let signing_key = |algorithm: SignatureAlgorithm| {
        Ok::<_, std::convert::Infallible>(oidc::config::SigningKey {
            kid: format!("placeholder-{}", algorithm.name()),
            algorithm,
            stage: oidc::config::KeyStage::Published,
            private: Some(oidc::Secret::new(vec![0])),
            public: vec![0],
        })
    };
    for missing in keys {
        let present = world.secrets.get(&missing.secret).map(std::convert::AsRef::as_ref);
        let Ok(secret) = with_keys(missing, present, Timestamp::from_unix_seconds(0), signing_key);
        world.secrets.insert(missing.secret.clone(), secret.into());
    }
    for missing in secrets {
        world
            .secrets
            .insert(missing.secret.clone(), client_secret(missing, None).into());
    }
}

fn with_keys<E>(
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
