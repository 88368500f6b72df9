use serde_json::{Value, json};

use super::*;
use crate::Secret;
use crate::config::{KeyStage, SealingKey};
use crate::keys::{Keys, SignError};
use crate::testing::{self, ISSUER};

fn keys() -> Keys {
    Keys::new(testing::key_set(ISSUER))
}

/// `token` with another header, its payload and signature kept.
fn with_header(token: &str, header: &Value) -> String {
    let rest = token.split_once('.').unwrap().1;
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[test]
fn each_algorithm_signs_what_it_verifies_and_nothing_else() {
    let keys = keys();
    for algorithm in SignatureAlgorithm::ALL {
        let token = keys.sign(algorithm, TokenType::IdToken, b"{\"a\":1}").unwrap();
        assert_eq!(keys.verify(TokenType::IdToken, &token).unwrap(), b"{\"a\":1}");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut forged = URL_SAFE_NO_PAD.decode(signature).unwrap();
        forged[5] ^= 1;
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(forged));
        assert_eq!(
            keys.verify(TokenType::IdToken, &forged),
            Err(JwsError::BadSignature),
            "{algorithm:?}"
        );
        assert_eq!(
            keys.verify(TokenType::IdToken, &format!("{signed}.")),
            Err(JwsError::BadSignature)
        );
    }
}

#[test]
fn a_token_under_another_algorithm_than_its_key_s_is_refused() {
    let keys = keys();
    let kid = keys.set().signing[1].kid.clone();
    let token = keys.sign(SignatureAlgorithm::Rs256, TokenType::IdToken, b"{}").unwrap();
    for alg in ["none", "NONE", "HS256", "PS256", "ES256", "RS512", ""] {
        let token = with_header(&token, &json!({"alg": alg, "typ": "JWT", "kid": kid}));
        assert_eq!(
            keys.verify(TokenType::IdToken, &token),
            Err(JwsError::AlgorithmMismatch),
            "{alg}"
        );
    }
}

#[test]
fn a_token_with_a_critical_header_a_foreign_key_or_another_type_is_refused() {
    let keys = keys();
    let kid = keys.set().signing[0].kid.clone();
    let token = keys.sign(SignatureAlgorithm::Es256, TokenType::IdToken, b"{}").unwrap();
    let verify = |header: Value| keys.verify(TokenType::IdToken, &with_header(&token, &header));
    let critical = json!({"alg": "ES256", "typ": "JWT", "kid": kid, "crit": ["b64"], "b64": false});
    assert_eq!(verify(critical), Err(JwsError::CriticalHeader));
    assert_eq!(
        verify(json!({"alg": "ES256", "typ": "JWT", "kid": "other"})),
        Err(JwsError::UnknownKey)
    );
    assert_eq!(verify(json!({"alg": "ES256", "typ": "JWT"})), Err(JwsError::UnknownKey));
    assert_eq!(verify(json!({"alg": "ES256", "kid": kid})), Err(JwsError::WrongType));
    assert_eq!(keys.verify(TokenType::AccessToken, &token), Err(JwsError::WrongType));
}

#[test]
fn a_published_key_verifies_but_does_not_sign() {
    let mut set = testing::key_set(ISSUER);
    let token = Keys::new(set.clone())
        .sign(SignatureAlgorithm::Es256, TokenType::IdToken, b"{}")
        .unwrap();
    for stage in [KeyStage::Published, KeyStage::Retired] {
        set.signing[0].stage = stage;
        let keys = Keys::new(set.clone());
        assert!(keys.verify(TokenType::IdToken, &token).is_ok());
        let refused = keys.sign(SignatureAlgorithm::Es256, TokenType::IdToken, b"{}");
        assert_eq!(refused, Err(SignError::NoKey("ES256")));
    }
}

#[test]
fn the_key_set_publishes_no_private_member() {
    let keys = keys();
    let jwks: Value = serde_json::from_slice(&keys.jwks().body).unwrap();
    let published = jwks["keys"].as_array().unwrap();
    assert_eq!(published.len(), 4);
    for jwk in published {
        assert!(
            ["d", "p", "q", "dp", "dq", "qi", "k"]
                .iter()
                .all(|member| jwk.get(member).is_none())
        );
        assert_eq!(jwk["use"], "sig");
    }
}

#[test]
fn a_session_is_verified_only_under_its_realm_s_key_and_as_a_session() {
    let keys = keys();
    let session = keys.sign_session(b"{\"sub\":1}").unwrap();
    assert_eq!(keys.verify_session(&session).unwrap(), b"{\"sub\":1}");
    // The same sealing secret in another realm derives another key.
    let other = Keys::new(testing::key_set("https://other.example"));
    assert_eq!(other.verify_session(&session), Err(JwsError::BadSignature));
    assert_eq!(keys.verify(TokenType::Session, &session), Err(JwsError::UnknownKey));
    let token = keys.sign(SignatureAlgorithm::Es256, TokenType::Session, b"{}").unwrap();
    assert_eq!(keys.verify_session(&token), Err(JwsError::UnknownKey));
    let unsigned = with_header(
        &session,
        &json!({"alg": "none", "typ": "session+jwt", "kid": "sealkey1"}),
    );
    assert_eq!(keys.verify_session(&unsigned), Err(JwsError::AlgorithmMismatch));
}

#[test]
fn a_session_outlives_the_rotation_of_its_key_but_not_its_removal() {
    let mut set = testing::key_set(ISSUER);
    let session = Keys::new(set.clone()).sign_session(b"{}").unwrap();
    set.sealing[0].stage = KeyStage::Retired;
    set.sealing.push(SealingKey {
        kid: "sealkey2".into(),
        stage: KeyStage::Active,
        secret: Secret::new([8; 32]),
    });
    let rotated = Keys::new(set.clone());
    assert!(rotated.verify_session(&session).is_ok());
    assert!(rotated.verify_session(&rotated.sign_session(b"{}").unwrap()).is_ok());
    set.sealing.remove(0);
    assert_eq!(Keys::new(set).verify_session(&session), Err(JwsError::UnknownKey));
}

proptest::proptest! {
    #[test]
    fn any_text_is_refused_without_panic(text in "[A-Za-z0-9_.=-]{0,120}", json in ".{0,60}") {
        let keys = keys();
        let encoded = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(&json), URL_SAFE_NO_PAD.encode(&json), text);
        for token in [&text, &json, &encoded] {
            proptest::prop_assert!(keys.verify(TokenType::IdToken, token).is_err());
            proptest::prop_assert!(keys.verify_session(token).is_err());
        }
    }
}

#[test]
fn keys_of_other_makers_sign_too() {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;

    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let p256 = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
    for (algorithm, key) in [
        (SignatureAlgorithm::Es256, p256),
        (SignatureAlgorithm::EdDsa, PKey::generate_ed25519().unwrap()),
        (SignatureAlgorithm::Rs256, rsa(2048)),
        (SignatureAlgorithm::Ps256, rsa(3072)),
    ] {
        let verifier = Verifier::from_spki(algorithm, &key.public_key_to_der().unwrap()).unwrap();
        // Also in the form of the key's own kind, in which Secrets may hold it.
        for der in [key.private_key_to_pkcs8(), key.private_key_to_der()] {
            let signer = Signer::new(algorithm, "k", &der.unwrap()).unwrap();
            let token = signer.sign(TokenType::IdToken, b"{}").unwrap();
            let claims = Compact::parse(&token).unwrap().verify(&verifier).unwrap();
            assert_eq!(claims, b"{}", "{algorithm:?}");
        }
        for other in SignatureAlgorithm::ALL {
            let fits = other == algorithm
                || matches!(
                    (other, algorithm),
                    (SignatureAlgorithm::Rs256, SignatureAlgorithm::Ps256)
                        | (SignatureAlgorithm::Ps256, SignatureAlgorithm::Rs256)
                );
            let made = Signer::new(other, "k", &key.private_key_to_pkcs8().unwrap());
            assert_eq!(made.is_ok(), fits, "a key for {algorithm:?} as one for {other:?}");
        }
    }
}
