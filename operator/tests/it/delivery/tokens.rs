//! Tokens as clusters sign them.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use oidc::Timestamp;
use operator::publish::{Bearer, TokenError, TokenIssuer, TokenSigner, TokenVerifier};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A cluster's signing key.
struct Cluster {
    kid: &'static str,
    key: RsaKeyPair,
}

impl Cluster {
    fn new(kid: &'static str) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { kid, key }
    }

    /// What `/openid/v1/jwks` answers.
    fn jwks(&self) -> Value {
        let public: RsaPublicKeyComponents<Vec<u8>> = self.key.public_key().into();
        let RsaPublicKeyComponents { n, e } = public;
        json!({"keys": [
            {"use": "sig", "kty": "EC", "kid": "other", "crv": "P-521", "x": "AA", "y": "AA"},
            {"use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256", "n": BASE64.encode(n), "e": BASE64.encode(e)},
        ]})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": self.kid});
        let message = format!(
            "{}.{}",
            BASE64.encode(header.to_string()),
            BASE64.encode(claims.to_string())
        );
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .unwrap();
        format!("{message}.{}", BASE64.encode(signature))
    }
}

/// A projected token, as an API server words it.
fn claims() -> Value {
    json!({
        "aud": ["nauthera-operator"], "exp": 1_800_003_600, "iat": 1_800_000_000, "nbf": 1_800_000_000,
        "iss": ISSUER, "jti": "5b9a", "sub": "system:serviceaccount:login:main",
        "kubernetes.io": {
            "namespace": "login",
            "node": {"name": "node-1", "uid": "n"},
            "pod": {"name": "main-7d9-abc", "uid": "p"},
            "serviceaccount": {"name": "main", "uid": "s"},
            "warnafter": 1_800_003_000,
        },
    })
}

#[test]
fn a_projected_token_of_a_cluster_names_its_pod() {
    let cluster = Cluster::new("key-1");
    let verifier = TokenVerifier::new("nauthera-operator", TokenIssuer::from_jwks(ISSUER, &cluster.jwks()));
    let bearer = Bearer {
        namespace: "login".to_owned(),
        service_account: "main".to_owned(),
        pod: "main-7d9-abc".to_owned(),
        uid: "p".to_owned(),
    };
    assert_eq!(verifier.verify(&cluster.sign(&claims()), NOW), Ok(bearer));
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        verifier.verify(&cluster.sign(&claims), NOW)
    };
    assert_eq!(
        with("aud", json!(["https://kubernetes"])),
        Err(TokenError::WrongAudience)
    );
    assert_eq!(with("iss", json!("https://elsewhere")), Err(TokenError::WrongAudience));
    assert_eq!(with("exp", json!(1_799_999_000)), Err(TokenError::Expired));
    // A token that is bound to no pod, as `kubectl create token` makes it.
    let unbound = json!({"namespace": "login", "serviceaccount": {"name": "main", "uid": "s"}});
    assert_eq!(with("kubernetes.io", unbound), Err(TokenError::Malformed));
    // Another key under the same id.
    let stranger = Cluster::new("key-1");
    assert_eq!(
        verifier.verify(&stranger.sign(&claims()), NOW),
        Err(TokenError::WrongSignature)
    );
}

#[test]
fn a_jwk_on_p256_verifies_what_its_key_signed() {
    let verifier = TokenVerifier::new("a", TokenIssuer::default());
    let signer = TokenSigner::generate("i", "a").unwrap();
    let bearer = Bearer {
        namespace: "login".to_owned(),
        service_account: "main".to_owned(),
        pod: "main-1".to_owned(),
        uid: "p".to_owned(),
    };
    let token = signer.sign(&bearer, NOW, Duration::from_hours(1)).unwrap();
    assert_eq!(verifier.verify(&token, NOW), Err(TokenError::UnknownKey));
    let (kid, point) = signer.public_key();
    let jwks = json!({"keys": [{
        "kty": "EC", "crv": "P-256", "kid": kid,
        "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]),
    }]});
    verifier.set_issuer(TokenIssuer::from_jwks("i", &jwks));
    assert_eq!(verifier.verify(&token, NOW), Ok(bearer));
}

#[tokio::test]
async fn a_key_that_is_not_known_yet_is_asked_for_and_waited_for() {
    let (old, new) = (Cluster::new("old"), Cluster::new("new"));
    let verifier = TokenVerifier::new("nauthera-operator", TokenIssuer::from_jwks(ISSUER, &old.jwks()));
    let token = new.sign(&claims());
    let patience = Duration::from_secs(20);
    let answer = async {
        verifier.key_is_missing().await;
        verifier.set_issuer(TokenIssuer::from_jwks(ISSUER, &new.jwks()));
    };
    let (outcome, ()) = tokio::join!(verifier.verify_patiently(&token, NOW, patience), answer);
    assert_eq!(outcome.unwrap().pod, "main-7d9-abc");
    // A key that nobody has is not waited for longer than that.
    let nobody = Cluster::new("nobody").sign(&claims());
    let outcome = verifier.verify_patiently(&nobody, NOW, Duration::from_millis(50)).await;
    assert_eq!(outcome, Err(TokenError::UnknownKey));
    // Keys that were withdrawn are no longer taken.
    assert_eq!(verifier.verify(&old.sign(&claims()), NOW), Err(TokenError::UnknownKey));
}
