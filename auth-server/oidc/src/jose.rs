//! JSON Web Signature in compact form (RFC 7515): the only file that names the JOSE library.
//!
//! A token is accepted only under the algorithm of the key that its `kid` names, with the `typ` that the caller
//! expects, and without critical headers. `none` and secret-keyed algorithms cannot be named for it at all; the session
//! cookie's HMAC has a key of its own type. Claims are the callers' business.

pub(crate) mod client_keys;
pub(crate) mod public_key;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jws::{ES256, EdDSA, JwsVerifier, PS256, RS256};
use serde::Deserialize;

use crate::config::SignatureAlgorithm;

/// Characters of a token that are looked at; longer ones are refused unread.
const MAX_CHARACTERS: usize = 16 * 1024;

/// What a signed token is, said by its `typ` header so that none can stand in for another (RFC 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// RFC 9068 §2.1.
    AccessToken,
    /// OpenID Connect Core 1.0 §2.
    IdToken,
    /// The session cookie.
    Session,
}

impl TokenType {
    const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::IdToken => "JWT",
            Self::Session => "session+jwt",
        }
    }
}

/// Why a token was not accepted. For logs and tests: clients only learn that it is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three parts of base64url with a JSON header, or too long.
    #[error("not a compact JWS")]
    Malformed,
    /// No key of that `kid`.
    #[error("signed by an unknown key")]
    UnknownKey,
    /// The header's `alg` is not the key's algorithm.
    #[error("signed with another algorithm than the key's")]
    AlgorithmMismatch,
    /// The header's `typ` is not the expected one.
    #[error("a token of another type")]
    WrongType,
    /// There is a `crit` header (RFC 7515 §4.1.11); none is understood.
    #[error("a critical header is not understood")]
    CriticalHeader,
    /// The signature does not match.
    #[error("the signature does not match")]
    BadSignature,
}

/// A key that the library does not take, or a signature that it did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not usable for its algorithm")]
pub struct UnusableKey;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default)]
    crit: Presence,
}

/// Whether a header member is there, with whatever value.
#[derive(Default)]
struct Presence(bool);

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// A token taken apart, nothing about it believed yet.
pub(crate) struct Compact<'t> {
    header: Header,
    signed: &'t str,
    payload: &'t str,
    signature: Vec<u8>,
}

impl<'t> Compact<'t> {
    pub(crate) fn parse(token: &'t str) -> Result<Self, JwsError> {
        if token.len() > MAX_CHARACTERS {
            return Err(JwsError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        if payload.contains('.') {
            return Err(JwsError::Malformed);
        }
        let header: Header = decode(header)
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(JwsError::Malformed)?;
        if header.crit.0 {
            return Err(JwsError::CriticalHeader);
        }
        let signature = decode(signature).ok_or(JwsError::Malformed)?;
        Ok(Self {
            header,
            signed,
            payload,
            signature,
        })
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The algorithm, when it is one of ours. Anything else, `none` and `HS*` included, is no algorithm.
    pub(crate) fn algorithm(&self) -> Result<SignatureAlgorithm, JwsError> {
        SignatureAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == self.header.alg)
            .ok_or(JwsError::AlgorithmMismatch)
    }

    pub(crate) fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    pub(crate) fn expect_type(&self, expected: TokenType) -> Result<(), JwsError> {
        if self.typ() == Some(expected.name()) {
            Ok(())
        } else {
            Err(JwsError::WrongType)
        }
    }

    /// The payload, once `verifier` vouches for it.
    pub(crate) fn verify(&self, verifier: &Verifier) -> Result<Vec<u8>, JwsError> {
        if self.header.alg != verifier.algorithm.name() {
            return Err(JwsError::AlgorithmMismatch);
        }
        verifier
            .inner
            .verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| JwsError::BadSignature)?;
        decode(self.payload).ok_or(JwsError::Malformed)
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// Signs with one private key. The headers are serialised once. Tokens are verified by another library than the one that
/// signs: aws-lc signs in two thirds of OpenSSL's time on P-256, and in a quarter of it on Ed25519.
pub(crate) struct Signer {
    key: PrivateKey,
    access_token_header: String,
    id_token_header: String,
    session_header: String,
}

impl Signer {
    /// From a private key in DER: PKCS #8, or what its kind had before (RFC 5915, RFC 8017 appendix A.1.2).
    pub(crate) fn new(algorithm: SignatureAlgorithm, kid: &str, der: &[u8]) -> Result<Self, UnusableKey> {
        let p256 = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let rsa = || {
            let key = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
            key.map(Box::new)
        };
        let key = match algorithm {
            SignatureAlgorithm::Es256 => EcdsaKeyPair::from_pkcs8(p256, der)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(p256, der))
                .map(PrivateKey::P256),
            SignatureAlgorithm::Rs256 => rsa().map(|key| PrivateKey::Rsa(key, &RSA_PKCS1_SHA256)),
            SignatureAlgorithm::Ps256 => rsa().map(|key| PrivateKey::Rsa(key, &RSA_PSS_SHA256)),
            SignatureAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(der).map(PrivateKey::Ed25519),
        };
        let header = |typ| header(algorithm.name(), typ, kid);
        Ok(Self {
            key: key.map_err(|_| UnusableKey)?,
            access_token_header: header(TokenType::AccessToken),
            id_token_header: header(TokenType::IdToken),
            session_header: header(TokenType::Session),
        })
    }

    /// A compact JWS over `claims`.
    pub(crate) fn sign(&self, typ: TokenType, claims: &[u8]) -> Result<String, UnusableKey> {
        let header = match typ {
            TokenType::AccessToken => &self.access_token_header,
            TokenType::IdToken => &self.id_token_header,
            TokenType::Session => &self.session_header,
        };
        let mut token = signing_input(header, claims);
        self.key.sign(&mut token).map_err(|Unspecified| UnusableKey)?;
        Ok(token)
    }
}

enum PrivateKey {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<rsa::KeyPair>, &'static dyn RsaEncoding),
}

impl PrivateKey {
    /// Adds to a signing input its signature, in the form of RFC 7518 §3 and RFC 8037 §3.1.
    fn sign(&self, token: &mut String) -> Result<(), Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::P256(key) => append(&key.sign(&random, token.as_bytes())?, token),
            Self::Ed25519(key) => append(&key.sign(token.as_bytes()), token),
            Self::Rsa(key, padding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*padding, &random, token.as_bytes(), &mut signature)?;
                append(&signature, token);
            }
        }
        Ok(())
    }
}

fn append(part: &impl AsRef<[u8]>, token: &mut String) {
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(part, token);
}

fn header(algorithm: &str, typ: TokenType, kid: &str) -> String {
    let header = serde_json::json!({"alg": algorithm, "typ": typ.name(), "kid": kid});
    URL_SAFE_NO_PAD.encode(header.to_string())
}

fn signing_input(header: &str, claims: &[u8]) -> String {
    let mut token = String::with_capacity(header.len() + claims.len() * 4 / 3 + 128);
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    token
}

/// Verifies with one public key, under its one algorithm.
pub(crate) struct Verifier {
    algorithm: SignatureAlgorithm,
    inner: Box<dyn JwsVerifier>,
}

impl Verifier {
    /// From a SubjectPublicKeyInfo in DER.
    pub(crate) fn from_spki(algorithm: SignatureAlgorithm, spki: &[u8]) -> Result<Self, UnusableKey> {
        let inner = match algorithm {
            SignatureAlgorithm::Es256 => boxed_verifier(ES256.verifier_from_der(spki)),
            SignatureAlgorithm::Rs256 => boxed_verifier(RS256.verifier_from_der(spki)),
            SignatureAlgorithm::Ps256 => boxed_verifier(PS256.verifier_from_der(spki)),
            SignatureAlgorithm::EdDsa => boxed_verifier(EdDSA.verifier_from_der(spki)),
        }?;
        Ok(Self { algorithm, inner })
    }

    /// From a public JWK (RFC 7517) whose type, curve, `use` and `alg` fit `algorithm`.
    pub(crate) fn from_jwk(
        algorithm: SignatureAlgorithm,
        jwk: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Self, UnusableKey> {
        let jwk = Jwk::from_map(jwk).map_err(|_| UnusableKey)?;
        let inner = match algorithm {
            SignatureAlgorithm::Es256 => boxed_verifier(ES256.verifier_from_jwk(&jwk)),
            SignatureAlgorithm::Rs256 => boxed_verifier(RS256.verifier_from_jwk(&jwk)),
            SignatureAlgorithm::Ps256 => boxed_verifier(PS256.verifier_from_jwk(&jwk)),
            SignatureAlgorithm::EdDsa if jwk.curve() == Some("Ed25519") => {
                boxed_verifier(EdDSA.verifier_from_jwk(&jwk))
            }
            SignatureAlgorithm::EdDsa => Err(UnusableKey),
        }?;
        Ok(Self { algorithm, inner })
    }
}

fn boxed_verifier<V: JwsVerifier + 'static>(
    verifier: Result<V, josekit::JoseError>,
) -> Result<Box<dyn JwsVerifier>, UnusableKey> {
    verifier
        .map(|verifier| Box::new(verifier) as Box<dyn JwsVerifier>)
        .map_err(|_| UnusableKey)
}

/// HS256 for values that only this fleet reads. Signed and compared in constant time by aws-lc: the JOSE library
/// compares MACs byte by byte.
pub(crate) struct MacKey {
    key: hmac::Key,
    header: String,
}

impl MacKey {
    pub(crate) fn new(kid: &str, typ: TokenType, secret: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            header: header("HS256", typ, kid),
        }
    }

    pub(crate) fn sign(&self, claims: &[u8]) -> String {
        let mut token = signing_input(&self.header, claims);
        append(&hmac::sign(&self.key, token.as_bytes()), &mut token);
        token
    }

    pub(crate) fn verify(&self, token: &Compact<'_>) -> Result<Vec<u8>, JwsError> {
        if token.header.alg != "HS256" {
            return Err(JwsError::AlgorithmMismatch);
        }
        hmac::verify(&self.key, token.signed.as_bytes(), &token.signature).map_err(|_| JwsError::BadSignature)?;
        decode(token.payload).ok_or(JwsError::Malformed)
    }
}

#[cfg(test)]
mod tests;
