//! The keys of one realm at work: signers, verifiers, derived keys and the JWK Set, each made on first use and kept
//! until the realm's keys change.
//!
//! Loading a key costs as much as twenty signatures, so nothing is loaded per request, and a realm that nobody uses
//! costs nothing. RSA signers exist only once something is signed with them.

mod proof;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub use proof::{KeyFault, prove};
use serde_json::{Value, json};

use crate::config::{KeySet, KeyStage, SignatureAlgorithm, SigningKey};
use crate::document::Document;
use crate::id::RealmId;
use crate::jose::{self, Compact, JwsError, MacKey, Signer, TokenType, UnusableKey, Verifier};
use crate::seal::{self, Sealer};

/// Why a token could not be signed: the configuration lacks what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The realm has no active key of that algorithm.
    #[error("no active {0} key")]
    NoKey(&'static str),
    /// The key does not load, or the library refused to sign.
    #[error("the key does not sign")]
    Unusable(#[from] UnusableKey),
    /// The claims do not serialise.
    #[error("the claims cannot be serialised")]
    Claims,
}

/// The keys of one realm, ready to use.
pub struct Keys {
    set: KeySet,
    signing: Signing,
    macs: Box<[OnceLock<Option<Box<MacKey>>>]>,
    sealer: Sealer,
    jwks: OnceLock<Document>,
}

/// What every signature needs, side by side: among thousands of realms each line of memory is far away.
struct Signing {
    pairs: Box<[Pair]>,
    /// Which of them signs with each algorithm, in order of [`SignatureAlgorithm::ALL`].
    active: [Option<u16>; SignatureAlgorithm::ALL.len()],
    signatures: AtomicU64,
}

/// What was made of one signing key so far: small until something was.
#[derive(Default)]
struct Pair {
    signer: OnceLock<Result<Box<Signer>, UnusableKey>>,
    verifier: OnceLock<Result<Verifier, UnusableKey>>,
}

impl Keys {
    /// Takes up a key set. Nothing is loaded yet.
    pub fn new(set: KeySet) -> Self {
        Self {
            signing: Signing::new(&set.signing),
            macs: set.sealing.iter().map(|_| OnceLock::new()).collect(),
            sealer: Sealer::new(set.realm, &set.sealing),
            jwks: OnceLock::new(),
            set,
        }
    }

    /// Whose keys.
    pub fn realm(&self) -> RealmId {
        self.set.realm
    }

    /// The key set as configured.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Seals and opens the realm's own values.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The algorithms that the realm can sign with now, in order of preference, each once.
    pub fn signing_algorithms(&self) -> impl Iterator<Item = SignatureAlgorithm> {
        let all = SignatureAlgorithm::ALL.into_iter().zip(self.signing.active);
        all.filter_map(|(algorithm, key)| key.map(|_| algorithm))
    }

    /// Signs `claims` (a JSON object) with the active key of `algorithm`.
    pub fn sign(&self, algorithm: SignatureAlgorithm, typ: TokenType, claims: &[u8]) -> Result<String, SignError> {
        let active = self
            .signing
            .active(algorithm)
            .ok_or(SignError::NoKey(algorithm.name()))?;
        let pair = self.signing.pairs.get(active).ok_or(UnusableKey)?;
        let signer = pair
            .signer
            .get_or_init(|| {
                let key = self.set.signing.get(active).ok_or(UnusableKey)?;
                let private = key.private.as_ref().ok_or(UnusableKey)?;
                Signer::new(key.algorithm, &key.kid, private.expose()).map(Box::new)
            })
            .as_ref()
            .map_err(|unusable| *unusable)?;
        self.signing.signatures.fetch_add(1, Ordering::Relaxed);
        Ok(signer.sign(typ, claims)?)
    }

    /// Signatures asked for so far, those of session cookies not counted: what flows cost most beside hashes.
    pub fn signatures(&self) -> u64 {
        self.signing.signatures.load(Ordering::Relaxed)
    }

    /// The payload of a token of type `typ` that this realm signed with a key it still publishes. Claims, expiry
    /// included, are not looked at.
    pub fn verify(&self, typ: TokenType, token: &str) -> Result<Vec<u8>, JwsError> {
        let token = Compact::parse(token)?;
        let kid = token.kid().ok_or(JwsError::UnknownKey)?;
        let (key, pair) = self
            .set
            .signing
            .iter()
            .zip(&self.signing.pairs)
            .find(|(key, _)| key.kid == kid)
            .ok_or(JwsError::UnknownKey)?;
        token.expect_type(typ)?;
        let verifier = pair
            .verifier
            .get_or_init(|| Verifier::from_spki(key.algorithm, &key.public))
            .as_ref()
            .map_err(|_| JwsError::UnknownKey)?;
        token.verify(verifier)
    }

    /// Signs the claims of a session cookie with HS256, under a key used for nothing else.
    pub fn sign_session(&self, claims: &[u8]) -> Result<String, SignError> {
        let mut keys = self.set.sealing.iter().enumerate();
        let (index, _) = keys
            .find(|(_, key)| key.stage == KeyStage::Active)
            .ok_or(SignError::NoKey("sealing"))?;
        let key = self.mac(index).ok_or(SignError::Unusable(UnusableKey))?;
        Ok(key.sign(claims))
    }

    /// The claims of a session cookie that this realm signed. Their expiry is not looked at.
    pub fn verify_session(&self, token: &str) -> Result<Vec<u8>, JwsError> {
        let token = Compact::parse(token)?;
        token.expect_type(TokenType::Session)?;
        let kid = token.kid().ok_or(JwsError::UnknownKey)?;
        let index = self.set.sealing.iter().position(|key| key.kid == kid);
        let key = index.and_then(|index| self.mac(index)).ok_or(JwsError::UnknownKey)?;
        key.verify(&token)
    }

    fn mac(&self, index: usize) -> Option<&MacKey> {
        let key = self.set.sealing.get(index)?;
        self.macs
            .get(index)?
            .get_or_init(|| {
                let secret = seal::derive(key.secret.expose(), self.set.realm, "session-cookie")?;
                Some(Box::new(MacKey::new(&key.kid, TokenType::Session, &secret)))
            })
            .as_deref()
    }

    /// The JWK Set (RFC 7517 §5): every key that signs, will sign, or signed something that has not expired.
    pub fn jwks(&self) -> &Document {
        self.jwks.get_or_init(|| {
            let keys: Vec<Value> = self
                .set
                .signing
                .iter()
                .filter_map(|key| jose::public_key::jwk(key).ok().map(Value::Object))
                .collect();
            Document::new(json!({ "keys": keys }).to_string().into_bytes())
        })
    }
}

impl Signing {
    fn new(keys: &[SigningKey]) -> Self {
        let active = SignatureAlgorithm::ALL.map(|algorithm| {
            let is_active = |key: &SigningKey| key.stage == KeyStage::Active && key.algorithm == algorithm;
            keys.iter().position(is_active).and_then(|at| u16::try_from(at).ok())
        });
        Self {
            pairs: keys.iter().map(|_| Pair::default()).collect(),
            active,
            signatures: AtomicU64::new(0),
        }
    }

    /// The place of the key that signs with `algorithm`.
    fn active(&self, algorithm: SignatureAlgorithm) -> Option<usize> {
        self.active.get(algorithm as usize).copied().flatten().map(usize::from)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("realm", &self.set.realm)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}
