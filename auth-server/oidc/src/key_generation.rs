//! New keys for a realm. The operator makes and rotates them; servers never do.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Secret;
use crate::config::{KeyStage, SealingKey, SignatureAlgorithm, SigningKey};
use crate::jose;

/// The cryptographic library did not make a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key could be generated")]
pub struct KeyGenerationError(#[from] jose::UnusableKey);

/// A new signing key in stage [`KeyStage::Published`], named by its thumbprint (RFC 7638). The randomness is OpenSSL's.
/// RSA takes up to a second.
pub fn generate_signing_key(algorithm: SignatureAlgorithm) -> Result<SigningKey, KeyGenerationError> {
    let (private, public) = jose::generate_key_pair(algorithm)?;
    Ok(SigningKey {
        kid: jose::public_key::thumbprint(&public)?,
        algorithm,
        stage: KeyStage::Published,
        private: Some(private),
        public,
    })
}

/// A new sealing key in stage [`KeyStage::Published`].
pub fn generate_sealing_key(rng: &mut (impl rand::CryptoRng + ?Sized)) -> SealingKey {
    let mut name = [0_u8; 6];
    let mut secret = [0_u8; 32];
    rng.fill_bytes(&mut name);
    rng.fill_bytes(&mut secret);
    SealingKey {
        kid: URL_SAFE_NO_PAD.encode(name),
        stage: KeyStage::Published,
        secret: Secret::new(secret),
    }
}
