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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn keys_are_named_by_their_thumbprint_and_start_as_published() {
        for algorithm in [SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa] {
            let key = generate_signing_key(algorithm).unwrap();
            assert_eq!(key.kid, jose::public_key::thumbprint(&key.public).unwrap());
            assert_eq!((key.stage, key.algorithm), (KeyStage::Published, algorithm));
            assert_ne!(key.kid, generate_signing_key(algorithm).unwrap().kid);
        }
    }

    #[test]
    fn sealing_keys_are_fresh_and_have_names_of_8_characters() {
        let mut rng = testing::rng();
        let [one, other] = [generate_sealing_key(&mut rng), generate_sealing_key(&mut rng)];
        assert_eq!((one.kid.len(), one.stage), (8, KeyStage::Published));
        assert!(one.kid != other.kid && one.secret != other.secret);
    }
}
