//! Tokens that somebody else made: other keys, other algorithms, other kinds of token.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use oidc::testing;
use serde_json::{Value, json};

use super::{fleet, is_active, userinfo};
use crate::flow::{authorize, exchange, member, sign_in_at};
use crate::server::Server;

fn header_of(token: &str) -> Value {
    serde_json::from_slice(&B64.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

fn payload_of(token: &str) -> &str {
    token.split('.').nth(1).unwrap()
}

fn with_header(header: &Value, payload: &str) -> String {
    format!("{}.{payload}", B64.encode(header.to_string()))
}

fn es256(input: &str) -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let signed = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", B64.encode(signed))
}

fn hs256(input: &str, key: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input.as_bytes());
    format!("{input}.{}", B64.encode(tag))
}

/// Every forgery of `genuine` that needs nothing but what is public.
async fn forgeries(server: &Server, genuine: &str) -> Vec<(String, String)> {
    let header = header_of(genuine);
    let kid = header["kid"].as_str().unwrap();
    let (typ, payload) = (header["typ"].clone(), payload_of(genuine));
    let signed_by = |alg: &str, kid: &str| json!({"alg": alg, "typ": typ, "kid": kid});
    let mut forged = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let input = with_header(&signed_by(alg, kid), payload);
        forged.push((format!("alg {alg:?}, no signature"), format!("{input}.")));
        let kept = genuine.rsplit('.').next().unwrap();
        forged.push((format!("alg {alg:?}, genuine signature"), format!("{input}.{kept}")));
    }
    forged.push((
        "no signature".into(),
        genuine.rsplit_once('.').unwrap().0.to_owned() + ".",
    ));

    let jwks = server.browser().get("/oauth2/jwks").await.json();
    for published in jwks["keys"].as_array().unwrap() {
        let kid = published["kid"].as_str().unwrap();
        let input = with_header(&signed_by("HS256", kid), payload);
        let text = published.to_string();
        let x = published["x"].as_str().or(published["n"].as_str()).unwrap();
        forged.push(("HS256 by the JWK".into(), hs256(&input, text.as_bytes())));
        forged.push(("HS256 by a coordinate".into(), hs256(&input, &B64.decode(x).unwrap())));
        for alg in ["ES256", "RS256", "PS256", "EdDSA", "HS256"] {
            let input = with_header(&signed_by(alg, kid), payload);
            forged.push((format!("{alg} by a key of the attacker as {kid}"), es256(&input)));
            let kept = genuine.rsplit('.').next().unwrap();
            if (alg, kid) != ("ES256", header["kid"].as_str().unwrap()) {
                forged.push((
                    format!("{alg} with the genuine signature as {kid}"),
                    format!("{input}.{kept}"),
                ));
            }
        }
    }
    for key in testing::key_set(testing::ISSUER).signing {
        let input = with_header(&signed_by("HS256", &key.kid), payload);
        forged.push(("HS256 by the public key".into(), hs256(&input, &key.public)));
    }
    let mut carrying = signed_by("ES256", kid);
    carrying["jwk"] = jwks["keys"][0].clone();
    carrying["jku"] = "https://evil.example/jwks".into();
    forged.push(("a key in the header".into(), es256(&with_header(&carrying, payload))));
    forged.push((
        "an unknown key".into(),
        es256(&with_header(&signed_by("ES256", "mine"), payload)),
    ));
    forged.push(("a critical header".into(), {
        let mut critical = header.clone();
        critical["crit"] = json!(["b64"]);
        format!(
            "{}.{}",
            with_header(&critical, payload),
            genuine.rsplit('.').next().unwrap()
        )
    }));
    let mut claims: Value = serde_json::from_slice(&B64.decode(payload).unwrap()).unwrap();
    claims["exp"] = 9_999_999_999_u64.into();
    let (head, rest) = genuine.split_once('.').unwrap();
    let kept = rest.rsplit('.').next().unwrap();
    forged.push((
        "altered claims".into(),
        format!("{head}.{}.{kept}", B64.encode(claims.to_string())),
    ));
    forged
}

#[actix_web::test]
async fn access_tokens_of_another_algorithm_or_key_are_refused() {
    let server = fleet().await.start().await;
    let code = crate::flow::code(&server, "app", "openid").await;
    let genuine = member(&exchange(&server, "app", &code).await, "access_token");
    assert_eq!(userinfo(&server, &genuine).await.status, 200);
    for (what, token) in forgeries(&server, &genuine).await {
        let answer = userinfo(&server, &token).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.body);
        assert!(!is_active(&server, &token).await, "{what}");
    }
    server.stop().await;
}

#[actix_web::test]
async fn id_token_hints_of_another_algorithm_or_key_prove_nothing() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    let page = sign_in_at(&mut browser, &authorize("app", "openid", &[])).await;
    let code = page.location_parameter("code").unwrap();
    let genuine = member(&exchange(&server, "app", &code).await, "id_token");
    for (what, token) in forgeries(&server, &genuine).await {
        let silent = [("prompt", "none"), ("id_token_hint", token.as_str())];
        let page = browser.get(&authorize("app", "openid", &silent)).await;
        assert_eq!(
            page.location_parameter("error").as_deref(),
            Some("login_required"),
            "{what}"
        );
        let page = browser.get(&format!("/oauth2/end_session?id_token_hint={token}")).await;
        assert_eq!((page.status, page.has_id("log-out")), (200, true), "{what}");
    }
    let silent = [("prompt", "none"), ("id_token_hint", genuine.as_str())];
    let page = browser.get(&authorize("app", "openid", &silent)).await;
    assert!(page.location_parameter("code").is_some());
    server.stop().await;
}

#[actix_web::test]
async fn forged_session_cookies_sign_nobody_in() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    sign_in_at(&mut browser, &authorize("app", "openid", &[])).await;
    let (name, genuine) = browser
        .cookies()
        .iter()
        .find(|(name, _)| name.contains("-session-"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .unwrap();
    for (what, token) in forgeries(&server, &genuine).await {
        browser.cookies().insert(name.clone(), token);
        let page = browser.get(&authorize("app", "openid", &[("prompt", "none")])).await;
        assert_eq!(
            page.location_parameter("error").as_deref(),
            Some("login_required"),
            "{what}"
        );
    }
    browser.cookies().insert(name, genuine);
    let page = browser.get(&authorize("app", "openid", &[("prompt", "none")])).await;
    assert!(page.location_parameter("code").is_some());
    server.stop().await;
}

#[actix_web::test]
async fn a_token_of_one_kind_is_none_of_another() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    let page = sign_in_at(&mut browser, &authorize("app", "openid", &[])).await;
    let code = page.location_parameter("code").unwrap();
    let tokens = exchange(&server, "app", &code).await;
    let (access, id_token) = (member(&tokens, "access_token"), member(&tokens, "id_token"));
    let refresh_token = member(&tokens, "refresh_token");
    let (name, session) = browser
        .cookies()
        .iter()
        .find(|(name, _)| name.contains("-session-"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .unwrap();
    for token in [&id_token, &session, &refresh_token, &code] {
        assert_eq!(userinfo(&server, token).await.status, 401);
    }
    for token in [&id_token, &session, &code] {
        assert!(!is_active(&server, token).await);
    }
    for token in [&access, &id_token, &session, &code] {
        let answer = crate::flow::refresh(&server, "app", token).await;
        super::assert_refused(&answer, 400, "invalid_grant");
    }
    for token in [&access, &id_token, &session, &refresh_token] {
        super::assert_refused(&exchange(&server, "app", token).await, 400, "invalid_grant");
    }
    for token in [&access, &session] {
        let silent = [("prompt", "none"), ("id_token_hint", token.as_str())];
        let page = browser.get(&authorize("app", "openid", &silent)).await;
        assert_eq!(page.location_parameter("error").as_deref(), Some("login_required"));
    }
    for token in [&access, &id_token, &refresh_token] {
        let mut thief = server.browser();
        thief.cookies().insert(name.clone(), token.clone());
        let page = thief.get(&authorize("app", "openid", &[("prompt", "none")])).await;
        assert_eq!(page.location_parameter("error").as_deref(), Some("login_required"));
    }
    server.stop().await;
}
