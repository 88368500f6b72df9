use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::config::{ClientKeys, SignatureAlgorithm, SigningKey};
use crate::endpoint;
use crate::jose::{self, Signer, TokenType};
use crate::testing::{self, ISSUER, NOW, World, run};

fn basic(client_id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}")))
}

/// Who is authenticated, or why nobody is.
fn check(world: &World, authorization: Option<&str>, body: &str) -> String {
    let parameters = Parameters::parse(body.as_bytes()).unwrap();
    match run(authenticate(&world.context(), authorization, &parameters)) {
        Ok(client) => client.client().client_id.clone(),
        Err(ClientAuthenticationError::InvalidRequest(sentence)) => sentence.to_owned(),
        Err(ClientAuthenticationError::Failed(Rejection::Assertion(error))) => format!("{error:?}"),
        Err(ClientAuthenticationError::Failed(rejection)) => format!("{rejection:?}"),
        Err(ClientAuthenticationError::Unavailable(_)) => "unavailable".to_owned(),
    }
}

fn world() -> World {
    let hashes = vec![testing::hash_of("old"), testing::hash_of("new")];
    let poster = Client {
        authentication: ClientAuthentication::SecretPost(hashes),
        ..testing::client("poster")
    };
    let signer = signer(SignatureAlgorithm::Es256);
    World::new([testing::client("app"), testing::public_client("spa"), poster, signer])
}

/// A client whose key set holds a symmetric key, and the public half of the fixture's key for `algorithm`.
fn signer(algorithm: SignatureAlgorithm) -> Client {
    let jwk = jose::public_key::jwk(&key_of(algorithm)).unwrap();
    let jwks = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, jwk]}).to_string();
    Client {
        authentication: ClientAuthentication::PrivateKeyJwt {
            jwks: ClientKeys::new(jwks).into(),
        },
        ..testing::client("signer")
    }
}

fn key_of(algorithm: SignatureAlgorithm) -> SigningKey {
    let keys = testing::key_set(ISSUER).signing;
    keys.into_iter().find(|key| key.algorithm == algorithm).unwrap()
}

fn claims() -> Value {
    json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "exp": NOW.unix_seconds() + 60, "jti": "one"})
}

fn claims_with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn signed(algorithm: SignatureAlgorithm, typ: TokenType, claims: &Value) -> String {
    let key = key_of(algorithm);
    let signer = Signer::new(algorithm, &key.kid, key.private.unwrap().expose()).unwrap();
    signer.sign(typ, claims.to_string().as_bytes()).unwrap()
}

fn form(assertion: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client_assertion_type", JWT_BEARER)
        .append_pair("client_assertion", assertion)
        .finish()
}

fn es256(claims: &Value) -> String {
    form(&signed(SignatureAlgorithm::Es256, TokenType::IdToken, claims))
}

#[test]
fn each_method_authenticates_the_clients_registered_for_it() {
    let world = world();
    let header = basic("app", &testing::secret_of("app"));
    assert_eq!(check(&world, Some(&header), ""), "app");
    assert_eq!(check(&world, Some(&header), "client_id=app"), "app");
    assert_eq!(check(&world, None, "client_id=spa"), "spa");
    assert_eq!(check(&world, None, "client_id=poster&client_secret=old"), "poster");
    assert_eq!(check(&world, None, "client_id=poster&client_secret=new"), "poster");
    assert_eq!(check(&world, None, &es256(&claims())), "signer");
}

#[test]
fn a_method_other_than_the_registered_one_is_refused() {
    let world = world();
    let post = format!("client_id=app&client_secret={}", testing::secret_of("app"));
    for body in [post.as_str(), "client_id=app", "client_id=poster", "client_id=signer"] {
        assert_eq!(check(&world, None, body), "WrongCredentials", "{body}");
    }
    for header in [basic("poster", "new"), basic("spa", ""), basic("signer", "x")] {
        assert_eq!(check(&world, Some(&header), ""), "WrongCredentials");
    }
}

#[test]
fn an_unknown_client_and_a_wrong_secret_are_told_apart_by_nothing() {
    let world = world();
    let [wrong, unknown] = ["app", "nobody"].map(|client_id| {
        let header = basic(client_id, "wrong");
        let parameters = Parameters::default();
        format!(
            "{:?}",
            run(authenticate(&world.context(), Some(&header), &parameters)).unwrap_err()
        )
    });
    assert_eq!(wrong, unknown);
    assert!(world.store.take_calls().is_empty());
}

#[test]
fn more_than_one_method_at_a_time_is_refused() {
    let world = world();
    let header = basic("app", &testing::secret_of("app"));
    let several = "more than one client authentication method is used";
    let assertion = es256(&claims());
    assert_eq!(check(&world, Some(&header), "client_id=app&client_secret=x"), several);
    assert_eq!(check(&world, Some(&header), &assertion), several);
    assert_eq!(check(&world, None, &format!("client_secret=x&{assertion}")), several);
    let differs = check(&world, Some(&header), "client_id=other");
    assert_eq!(differs, "client_id differs from the authorization header");
    let differs = check(&world, None, &format!("client_id=other&{assertion}"));
    assert_eq!(differs, "client_id differs from the client assertion");
}

#[test]
fn a_request_that_names_no_client_is_refused() {
    let world = world();
    assert_eq!(check(&world, None, ""), "NoClient");
    assert_eq!(check(&world, None, "client_secret=x"), "NoClient");
    assert_eq!(check(&world, Some("Bearer x"), ""), "MalformedHeader");
    assert_eq!(check(&world, None, "client_assertion=x"), "AssertionType");
}

#[test]
fn an_assertion_must_be_issued_by_the_client_about_itself() {
    let world = world();
    assert_eq!(
        check(&world, None, &es256(&claims_with("iss", "app".into()))),
        "NotAboutItself"
    );
    assert_eq!(
        check(&world, None, &es256(&claims_with("sub", "app".into()))),
        "WrongCredentials"
    );
}

#[test]
fn an_assertion_for_another_audience_is_refused() {
    let world = world();
    for audience in [
        json!("https://other.example"),
        json!([]),
        json!(format!("{ISSUER}/")),
        json!(["x", "y"]),
    ] {
        assert_eq!(check(&world, None, &es256(&claims_with("aud", audience))), "Audience");
    }
    let audiences = [json!([ISSUER, "x"]), json!(format!("{ISSUER}{}", endpoint::TOKEN))];
    for (jti, audience) in audiences.into_iter().enumerate() {
        let mut claims = claims_with("aud", audience);
        claims["jti"] = jti.to_string().into();
        assert_eq!(check(&world, None, &es256(&claims)), "signer");
    }
}

#[test]
fn an_assertion_outside_of_its_time_is_refused() {
    let now = NOW.unix_seconds();
    for (claim, value, expected) in [
        ("exp", json!(now - 31), "Expired"),
        ("exp", json!(now - 29), "signer"),
        ("exp", json!(now + 5 * 60 + 31), "LivesTooLong"),
        ("exp", json!(1e300), "Malformed"),
        ("exp", json!("soon"), "Malformed"),
        ("exp", Value::Null, "Malformed"),
        ("nbf", json!(now + 31), "NotYetValid"),
        ("iat", json!(now + 31), "NotYetValid"),
        ("jti", json!(""), "NoJti"),
        ("jti", json!("x".repeat(257)), "NoJti"),
        ("jti", Value::Null, "Malformed"),
    ] {
        let outcome = check(&world(), None, &es256(&claims_with(claim, value.clone())));
        assert_eq!(outcome, expected, "{claim} {value}");
    }
}

#[test]
fn an_assertion_used_twice_is_refused() {
    let world = world();
    let body = es256(&claims());
    assert_eq!(check(&world, None, &body), "signer");
    assert_eq!(check(&world, None, &body), "Replayed");
    assert_eq!(world.store.take_calls(), ["use_once", "use_once"]);
    world.store.set_down(true);
    assert_eq!(check(&world, None, &body), "unavailable");
}

#[test]
fn every_asymmetric_algorithm_authenticates() {
    for algorithm in SignatureAlgorithm::ALL {
        let world = World::new([signer(algorithm)]);
        let body = form(&signed(algorithm, TokenType::IdToken, &claims()));
        assert_eq!(check(&world, None, &body), "signer", "{algorithm:?}");
    }
}

#[test]
fn algorithm_confusion_is_refused() {
    let world = World::new([signer(SignatureAlgorithm::Rs256)]);
    let key = key_of(SignatureAlgorithm::Rs256);
    let forge = |header: Value, secret: &[u8]| {
        let signed = [header, claims()]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
        form(&format!("{signed}.{tag}"))
    };
    let kid = key.kid.as_str();
    // The public key as an HMAC secret, the symmetric key of the set, no algorithm at all.
    let mismatch = "Signature(AlgorithmMismatch)";
    assert_eq!(
        check(&world, None, &forge(json!({"alg": "HS256", "kid": kid}), &key.public)),
        mismatch
    );
    assert_eq!(
        check(&world, None, &forge(json!({"alg": "HS256"}), b"secret")),
        mismatch
    );
    assert_eq!(
        check(&world, None, &forge(json!({"alg": "none", "kid": kid}), b"")),
        mismatch
    );
    // Another algorithm for the same type of key: the key set says which one it is for.
    let unknown = "Signature(UnknownKey)";
    assert_eq!(
        check(&world, None, &forge(json!({"alg": "PS256", "kid": kid}), b"")),
        unknown
    );
    assert_eq!(check(&world, None, &es256(&claims())), unknown);
    let forged = check(&world, None, &forge(json!({"alg": "RS256", "kid": kid}), b""));
    assert_eq!(forged, "Signature(BadSignature)");
    let critical = check(
        &world,
        None,
        &forge(json!({"alg": "RS256", "kid": kid, "crit": []}), b""),
    );
    assert_eq!(critical, "Signature(CriticalHeader)");
}

#[test]
fn an_assertion_that_is_a_token_of_another_type_is_refused() {
    let token = signed(SignatureAlgorithm::Es256, TokenType::AccessToken, &claims());
    assert_eq!(check(&world(), None, &form(&token)), "WrongType");
}

#[test]
fn the_claimed_client_is_found_for_every_method() {
    let world = world();
    let context = world.context();
    let claimed = |header: Option<&str>, body: &str| {
        claimed_client(&context, header, body.as_bytes()).map(|client| client.client_id.as_str())
    };
    assert_eq!(claimed(Some(&basic("app", "x")), ""), Some("app"));
    assert_eq!(claimed(None, "client_id=spa"), Some("spa"));
    assert_eq!(claimed(None, &es256(&claims())), Some("signer"));
    assert_eq!(claimed(None, "client_id=nobody"), None);
    assert_eq!(claimed(None, "client_id=spa&client_id=spa"), None);
}

proptest::proptest! {
    #[test]
    fn any_assertion_is_refused_without_panic(text in "[A-Za-z0-9_.-]{1,80}") {
        let outcome = check(&World::new([testing::client("app")]), None, &form(&text));
        proptest::prop_assert!(outcome != "app");
    }
}
