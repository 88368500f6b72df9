//! New keys for a realm. The operator makes and rotates them; servers never do.
//!
//! With the library that both programs have for TLS, not with the one that signs: the operator does without OpenSSL, which
//! is four megabytes of a process that only makes keys with it.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Secret;
use crate::config::{KeyStage, SealingKey, SignatureAlgorithm, SigningKey};
use crate::jose::public_key::{self, Members, thumbprint_of};

/// The cryptographic library did not make a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key could be generated")]
pub struct KeyGenerationError;

impl From<Unspecified> for KeyGenerationError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// A new signing key in stage [`KeyStage::Published`], named by its thumbprint (RFC 7638). The randomness is that of
/// the cryptographic library. RSA takes up to a second.
pub fn generate_signing_key(algorithm: SignatureAlgorithm) -> Result<SigningKey, KeyGenerationError> {
    let KeyPair {
        private,
        public,
        members,
    } = match algorithm {
        SignatureAlgorithm::Es256 => KeyPair::p256()?,
        // A plain RSA key serves PSS too, and its public half is what other libraries expect in a JWK.
        SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256 => KeyPair::rsa()?,
        SignatureAlgorithm::EdDsa => KeyPair::ed25519()?,
    };
    Ok(SigningKey {
        kid: thumbprint_of(&members),
        algorithm,
        stage: KeyStage::Published,
        private: Some(private),
        public,
    })
}

struct KeyPair {
    /// PKCS #8 in DER.
    private: Secret<Vec<u8>>,
    /// SubjectPublicKeyInfo in DER.
    public: Vec<u8>,
    members: Members,
}

impl KeyPair {
    fn new(private: &[u8], public: &PublicKeyX509Der<'_>, members: Members) -> Self {
        Self {
            private: Secret::new(private.to_vec()),
            public: public.as_ref().to_vec(),
            members,
        }
    }

    fn p256() -> Result<Self, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        // SEC 1 §2.3.3: a byte for the form, then both coordinates.
        let point = pair.public_key().as_ref().split_at_checked(33);
        let (x, y) = point.ok_or(Unspecified)?;
        let members = public_key::p256(x.get(1..).ok_or(Unspecified)?, y);
        Ok(Self::new(
            pair.to_pkcs8v1()?.as_ref(),
            &pair.public_key().as_der()?,
            members,
        ))
    }

    fn ed25519() -> Result<Self, Unspecified> {
        let pair = Ed25519KeyPair::generate()?;
        let members = public_key::ed25519(pair.public_key().as_ref());
        Ok(Self::new(
            pair.to_pkcs8v1()?.as_ref(),
            &pair.public_key().as_der()?,
            members,
        ))
    }

    /// Of 2048 bits.
    fn rsa() -> Result<Self, Unspecified> {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?;
        let key = pair.public_key();
        let members = public_key::rsa(
            key.modulus().big_endian_without_leading_zero(),
            key.exponent().big_endian_without_leading_zero(),
        );
        let private: Pkcs8V1Der<'_> = pair.as_der()?;
        Ok(Self::new(private.as_ref(), &key.as_der()?, members))
    }
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
    use crate::{jose, testing};

    #[test]
    fn keys_are_named_by_their_thumbprint_and_start_as_published() {
        for algorithm in [
            SignatureAlgorithm::Es256,
            SignatureAlgorithm::EdDsa,
            SignatureAlgorithm::Rs256,
            SignatureAlgorithm::Ps256,
        ] {
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
