//! Pod-bound tokens: JWTs in the shape of Kubernetes' projected service account tokens, verified locally.
//!
//! In a cluster its API server signs them and its JWKS verifies them; under `dev` the operator plays the cluster and
//! signs them itself with [`TokenSigner`]. Only ES256 and RS256 are taken, each with the key it belongs to.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use oidc::Timestamp;
use serde::{Deserialize, Serialize};
use snapshot::{Fleet, Hash};
use tokio::sync::{Notify, watch};

/// Larger tokens are not looked at.
const TOKEN_BYTES: usize = 16 * 1024;

/// Clocks of issuer and operator may differ this much.
const LEEWAY: Duration = Duration::from_secs(30);

/// Who a token says its bearer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Namespace of the pod.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
}

impl Bearer {
    /// Whether this is a server of `fleet`: same namespace, and the service account that is named like the fleet.
    pub fn serves(&self, fleet: &Fleet) -> bool {
        self.namespace == fleet.namespace() && self.service_account == fleet.name()
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT of the expected shape.
    #[error("token is malformed")]
    Malformed,
    /// No key of that id and algorithm.
    #[error("token is signed with an unknown key")]
    UnknownKey,
    /// Not signed by that key.
    #[error("token signature is wrong")]
    WrongSignature,
    /// Another issuer or audience.
    #[error("token is meant for somebody else")]
    WrongAudience,
    /// Not valid at this time.
    #[error("token is expired or not yet valid")]
    Expired,
}

/// A key that tokens are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// ES256: the uncompressed point.
    Es256(Vec<u8>),
    /// RS256: modulus and exponent, big-endian.
    Rs256 {
        /// `n`.
        modulus: Vec<u8>,
        /// `e`.
        exponent: Vec<u8>,
    },
}

/// An issuer of tokens and its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenIssuer {
    /// What `iss` must be. Empty before the issuer is known: then no token is taken.
    pub name: String,
    /// Keys by `kid`.
    pub keys: Vec<(String, PublicKey)>,
}

/// Verifies tokens of one issuer for one audience. Clones share the issuer, which may change at any time.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    audience: String,
    issuer: watch::Sender<Arc<TokenIssuer>>,
    unknown_key: Arc<Notify>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: Vec<String>,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Serialize, Deserialize)]
struct Kubernetes {
    namespace: String,
    pod: Object,
    serviceaccount: Object,
}

#[derive(Serialize, Deserialize)]
struct Object {
    name: String,
    uid: String,
}

impl PublicKey {
    /// The key that a JWK is (RFC 7517 §4): RSA, or EC on P-256; `None` for another one.
    pub fn from_jwk(jwk: &serde_json::Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str);
        let bytes = |name: &str| BASE64.decode(text(name)?).ok();
        match (text("kty")?, text("crv")) {
            ("RSA", _) => Some(Self::Rs256 {
                modulus: bytes("n")?,
                exponent: bytes("e")?,
            }),
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                (x.len() == 32 && y.len() == 32).then_some(Self::Es256(point))
            }
            _ => None,
        }
    }
}

impl TokenIssuer {
    /// The issuer of that name with the keys of a JWK set (RFC 7517 §5). Keys of other kinds, and keys without an id,
    /// are left out.
    pub fn from_jwks(name: &str, jwks: &serde_json::Value) -> Self {
        let keys = jwks.get("keys").and_then(serde_json::Value::as_array);
        let key = |jwk: &serde_json::Value| Some((jwk.get("kid")?.as_str()?.to_owned(), PublicKey::from_jwk(jwk)?));
        Self {
            name: name.to_owned(),
            keys: keys.into_iter().flatten().filter_map(key).collect(),
        }
    }
}

impl TokenVerifier {
    /// Takes tokens of `issuer` for `audience`.
    pub fn new(audience: &str, issuer: TokenIssuer) -> Self {
        Self {
            audience: audience.to_owned(),
            issuer: watch::Sender::new(Arc::new(issuer)),
            unknown_key: Arc::default(),
        }
    }

    /// Takes tokens of this issuer from now on.
    pub fn set_issuer(&self, issuer: TokenIssuer) {
        self.issuer.send_if_modified(|present| {
            let is_new = **present != issuer;
            if is_new {
                *present = Arc::new(issuer);
            }
            is_new
        });
    }

    /// Returns when a token named a key that is not known: the issuer may have a new one.
    pub async fn key_is_missing(&self) {
        self.unknown_key.notified().await;
    }

    /// Like [`TokenVerifier::verify`], but a key that is not known is asked for and waited for up to `patience`.
    pub async fn verify_patiently(
        &self,
        token: &str,
        now: Timestamp,
        patience: Duration,
    ) -> Result<Bearer, TokenError> {
        let mut changes = self.issuer.subscribe();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let verified = self.verify(token, now);
            if verified != Err(TokenError::UnknownKey) {
                return verified;
            }
            self.unknown_key.notify_one();
            if !matches!(tokio::time::timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return verified;
            }
        }
    }

    /// Who bears `token` at the time `now`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Bearer, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = parse(header)?;
        let signature = BASE64.decode(signature).map_err(|_| TokenError::Malformed)?;
        let issuer = Arc::clone(&self.issuer.borrow());
        check_signature(&issuer, &header, message.as_bytes(), &signature)?;

        let claims: Claims = parse(claims)?;
        if claims.iss != issuer.name || !claims.aud.contains(&self.audience) {
            return Err(TokenError::WrongAudience);
        }
        let expires = Timestamp::from_unix_seconds(claims.exp).after(LEEWAY);
        let begins = Timestamp::from_unix_seconds(claims.nbf).before(LEEWAY);
        if now >= expires || now < begins {
            return Err(TokenError::Expired);
        }
        let Kubernetes {
            namespace,
            pod,
            serviceaccount,
        } = claims.kubernetes;
        if pod.uid.is_empty() || pod.uid.len() > 128 || pod.name.len() > 253 {
            return Err(TokenError::Malformed);
        }
        Ok(Bearer {
            namespace,
            service_account: serviceaccount.name,
            pod: pod.name,
            uid: pod.uid,
        })
    }
}

fn check_signature(issuer: &TokenIssuer, header: &Header, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
    let mut keys = issuer.keys.iter();
    let key = keys.find(|(kid, _)| *kid == header.kid).map(|(_, key)| key);
    let verified = match (header.alg.as_str(), key) {
        ("ES256", Some(PublicKey::Es256(point))) => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        }
        ("RS256", Some(PublicKey::Rs256 { modulus, exponent })) => RsaPublicKeyComponents {
            n: modulus,
            e: exponent,
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        _ => return Err(TokenError::UnknownKey),
    };
    verified.map_err(|_| TokenError::WrongSignature)
}

fn parse<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = BASE64.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// Signs tokens in place of a cluster.
#[derive(Debug)]
pub struct TokenSigner {
    issuer: String,
    audience: String,
    kid: String,
    key: EcdsaKeyPair,
}

impl TokenSigner {
    /// A signer with a new key, which lives as long as the process.
    pub fn generate(issuer: &str, audience: &str) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            kid: Hash::of(key.public_key().as_ref()).to_string(),
            key,
        })
    }

    /// Id and uncompressed point of its public key.
    pub fn public_key(&self) -> (&str, &[u8]) {
        (&self.kid, self.key.public_key().as_ref())
    }

    /// What verifies its tokens.
    pub fn verifier(&self) -> TokenVerifier {
        let key = PublicKey::Es256(self.key.public_key().as_ref().to_vec());
        let issuer = TokenIssuer {
            name: self.issuer.clone(),
            keys: vec![(self.kid.clone(), key)],
        };
        TokenVerifier::new(&self.audience, issuer)
    }

    /// A token for `bearer`, valid from `now` for `lifetime`.
    pub fn sign(
        &self,
        bearer: &Bearer,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<String, aws_lc_rs::error::Unspecified> {
        let header = Header {
            alg: "ES256".to_owned(),
            kid: self.kid.clone(),
        };
        let Bearer {
            namespace,
            service_account,
            pod,
            uid,
        } = bearer;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: vec![self.audience.clone()],
            exp: now.after(lifetime).unix_seconds(),
            nbf: now.unix_seconds(),
            kubernetes: Kubernetes {
                namespace: namespace.clone(),
                pod: Object {
                    name: pod.clone(),
                    uid: uid.clone(),
                },
                serviceaccount: Object {
                    name: service_account.clone(),
                    uid: service_account.clone(),
                },
            },
        };
        let part = |json: Result<Vec<u8>, serde_json::Error>| BASE64.encode(json.unwrap_or_default());
        let message = format!(
            "{}.{}",
            part(serde_json::to_vec(&header)),
            part(serde_json::to_vec(&claims))
        );
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes())?;
        Ok(format!("{message}.{}", BASE64.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn bearer() -> Bearer {
        Bearer {
            namespace: "login".to_owned(),
            service_account: "main".to_owned(),
            pod: "main-1".to_owned(),
            uid: "7a".to_owned(),
        }
    }

    #[test]
    fn a_token_is_taken_until_it_expires_and_only_from_its_issuer_for_its_audience() {
        let signer = TokenSigner::generate("https://cluster", "nauthera-operator").unwrap();
        let token = signer.sign(&bearer(), NOW, HOUR).unwrap();
        let verifier = signer.verifier();
        assert_eq!(verifier.verify(&token, NOW), Ok(bearer()));
        let late = NOW.after(HOUR + LEEWAY);
        assert_eq!(verifier.verify(&token, late), Err(TokenError::Expired));
        assert_eq!(verifier.verify(&token, NOW.before(HOUR)), Err(TokenError::Expired));

        let issuer = verifier.issuer.borrow().as_ref().clone();
        let other = TokenVerifier::new("api", issuer.clone());
        assert_eq!(other.verify(&token, NOW), Err(TokenError::WrongAudience));
        verifier.set_issuer(TokenIssuer {
            name: "https://elsewhere".to_owned(),
            ..issuer.clone()
        });
        assert_eq!(verifier.verify(&token, NOW), Err(TokenError::WrongAudience));
        verifier.set_issuer(issuer);

        let stranger = TokenSigner::generate("https://cluster", "nauthera-operator").unwrap();
        let forged = stranger.sign(&bearer(), NOW, HOUR).unwrap();
        assert_eq!(verifier.verify(&forged, NOW), Err(TokenError::UnknownKey));
    }

    #[test]
    fn a_changed_token_or_another_algorithm_is_refused() {
        let signer = TokenSigner::generate("i", "a").unwrap();
        let verifier = signer.verifier();
        let token = signer.sign(&bearer(), NOW, HOUR).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let claims = BASE64.decode(parts[1]).unwrap();
        let claims = String::from_utf8(claims).unwrap().replace("login", "other");
        let changed = format!("{}.{}.{}", parts[0], BASE64.encode(claims), parts[2]);
        assert_eq!(verifier.verify(&changed, NOW), Err(TokenError::WrongSignature));
        for alg in ["none", "HS256", "RS256"] {
            let header = format!(r#"{{"alg":"{alg}","kid":"{}"}}"#, signer.kid);
            let confused = format!("{}.{}.{}", BASE64.encode(header), parts[1], parts[2]);
            assert_eq!(verifier.verify(&confused, NOW), Err(TokenError::UnknownKey), "{alg}");
        }
        for wrong in ["", ".", "..", "a.b.c", &"x".repeat(20_000)] {
            assert_eq!(verifier.verify(wrong, NOW), Err(TokenError::Malformed));
        }
    }

    #[test]
    fn a_bearer_serves_the_fleet_of_its_namespace_and_service_account_only() {
        let fleet = |text: &str| text.parse::<Fleet>().unwrap();
        assert!(bearer().serves(&fleet("login/main")));
        assert!(!bearer().serves(&fleet("login/other")));
        assert!(!bearer().serves(&fleet("other/main")));
    }
}
