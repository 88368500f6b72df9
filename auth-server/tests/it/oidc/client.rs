//! How clients prove who they are, and which scripts may read the answers.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use oidc::config::{Client, ClientAuthentication, ClientKeys};
use oidc::testing;
use reqwest::Method;
use serde_json::{Value, json};

use super::fleet_of;
use crate::browser::Page;
use crate::database;
use crate::flow::{VERIFIER, authorize, sign_in_at};
use crate::server::{Server, TestFleet, now};

struct Key(EcdsaKeyPair);

impl Key {
    fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwks(&self) -> String {
        let point = self.0.public_key().as_ref();
        let (x, y) = (B64.encode(&point[1..33]), B64.encode(&point[33..]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1", "x": x, "y": y}]}).to_string()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", B64.encode(signature))
    }

    fn assertion(&self, changes: &Value) -> String {
        let now = now().unix_seconds();
        let mut claims = json!({
            "iss": "app", "sub": "app", "aud": testing::ISSUER, "jti": format!("j{}", rand::random::<u64>()),
            "iat": now, "exp": now + 60,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims)
    }
}

async fn with_assertion(server: &Server, assertion: &str) -> Page {
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "orders:read"),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion),
    ];
    server.browser().post("/oauth2/token", &form).await
}

#[actix_web::test]
async fn a_client_assertion_works_once_on_all_servers_together() {
    let key = Key::generate();
    let client = Client {
        authentication: ClientAuthentication::PrivateKeyJwt {
            jwks: ClientKeys::new(key.jwks()).into(),
        },
        ..testing::client("app")
    };
    let fleet = fleet_of(client).await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    let assertion = key.assertion(&json!({}));
    let first = with_assertion(&a, &assertion).await;
    assert_eq!(first.status, 200, "{}", first.body);
    for server in [&a, &b] {
        let again = with_assertion(server, &assertion).await;
        assert_eq!((again.status, &again.json()["error"]), (401, &json!("invalid_client")));
    }
    let now = now().unix_seconds();
    for changes in [
        json!({"iss": "other"}),
        json!({"sub": "other"}),
        json!({"aud": "https://other.example"}),
        json!({"exp": now - 120}),
        json!({"exp": now + 86_400}),
        json!({"nbf": now + 3600}),
        json!({"jti": ""}),
        json!({"jti": null}),
        json!({"exp": "soon"}),
    ] {
        let page = with_assertion(&a, &key.assertion(&changes)).await;
        assert_eq!(
            (page.status, &page.json()["error"]),
            (401, &json!("invalid_client")),
            "{changes}"
        );
    }
    let page = with_assertion(&a, &Key::generate().assertion(&json!({}))).await;
    assert_eq!(page.status, 401, "another key");
    for header in [json!({"alg": "none"}), json!({"alg": "HS256", "kid": "k1"})] {
        let claims = json!({"iss": "app", "sub": "app", "aud": testing::ISSUER, "jti": "x", "exp": now + 60});
        let page = with_assertion(&a, &key.sign(&header, &claims)).await;
        assert_eq!(page.status, 401, "{header}");
    }
    // Nor does a secret help a client that has none.
    let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
    assert_eq!(
        crate::flow::post_as(&a, "app", "/oauth2/token", &form).await.status,
        401
    );
    a.stop().await;
    b.stop().await;
}

#[actix_web::test]
async fn a_public_client_proves_itself_by_its_verifier() {
    let server = fleet_of(testing::public_client("spa")).await.start().await;
    let page = sign_in_at(&mut server.browser(), &authorize("spa", "openid", &[])).await;
    let code = page.location_parameter("code").unwrap();
    let form = |client_id, verifier| {
        [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", code.as_str()),
            ("redirect_uri", testing::REDIRECT_URI),
            ("code_verifier", verifier),
        ]
    };
    let guess = "a-guess-of-at-least-forty-three-characters-long";
    let page = server.browser().post("/oauth2/token", &form("spa", guess)).await;
    assert_eq!((page.status, &page.json()["error"]), (400, &json!("invalid_grant")));
    let tokens = server.browser().post("/oauth2/token", &form("spa", VERIFIER)).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let token = crate::flow::member(&tokens, "refresh_token");
    let again = [
        ("grant_type", "refresh_token"),
        ("client_id", "spa"),
        ("refresh_token", token.as_str()),
    ];
    let page = server.browser().post("/oauth2/token", &again).await;
    assert_ne!(crate::flow::member(&page, "refresh_token"), token);
    let alone = [("grant_type", "client_credentials"), ("client_id", "spa")];
    let page = server.browser().post("/oauth2/token", &alone).await;
    assert_eq!(
        (page.status, &page.json()["error"]),
        (400, &json!("unauthorized_client"))
    );
    // A public client without a challenge gets no code.
    let url = authorize("spa", "openid", &[]);
    let url = url.split("&code_challenge=").next().unwrap();
    let page = server.browser().get(url).await;
    assert_eq!(page.location_parameter("error").as_deref(), Some("invalid_request"));
    server.stop().await;
}

#[actix_web::test]
async fn a_client_authenticates_only_as_it_is_registered() {
    let by_post = Client {
        authentication: ClientAuthentication::SecretPost(vec![testing::hash_of("s3cret")]),
        ..testing::client("poster")
    };
    let fleet = TestFleet::new(database::postgres().await, [testing::client("app"), by_post]).await;
    let server = fleet.start().await;
    let posted = |client_id: &'static str, secret: &'static str| {
        [
            ("grant_type", "client_credentials"),
            ("scope", "orders:read"),
            ("client_id", client_id),
            ("client_secret", secret),
        ]
    };
    let page = server
        .browser()
        .post("/oauth2/token", &posted("poster", "s3cret"))
        .await;
    assert_eq!(page.status, 200, "{}", page.body);
    for (client_id, secret) in [("poster", "wrong"), ("app", "secret-of-app"), ("nobody", "s3cret")] {
        let page = server.browser().post("/oauth2/token", &posted(client_id, secret)).await;
        assert_eq!(
            (page.status, &page.json()["error"]),
            (401, &json!("invalid_client")),
            "{client_id}"
        );
    }
    let twice = crate::flow::post_as(&server, "app", "/oauth2/token", &posted("app", "secret-of-app")).await;
    assert!(matches!(twice.status, 400 | 401), "{}", twice.body);
    server.stop().await;
}

#[actix_web::test]
async fn scripts_of_allowed_origins_alone_may_read_answers() {
    let server = super::start().await;
    let mut browser = server.browser();
    for path in ["/.well-known/openid-configuration", "/oauth2/jwks"] {
        let page = browser
            .send(Method::GET, path, None, &[("origin", "https://anybody.example")])
            .await;
        assert_eq!(page.header("access-control-allow-origin"), "*");
    }
    let (_, tokens) = super::signed_in(&server, "openid").await;
    let bearer = format!("Bearer {}", crate::flow::member(&tokens, "access_token"));
    let basic = format!("Basic {}", crate::flow::basic("app", &testing::secret_of("app")));
    for (path, asked, authorization) in [
        ("/oauth2/token", Method::POST, &basic),
        ("/oauth2/userinfo", Method::GET, &bearer),
    ] {
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://evil.example", false),
            ("null", false),
        ] {
            for method in [asked.clone(), Method::OPTIONS] {
                let mut headers = vec![("origin", origin)];
                if method == Method::OPTIONS {
                    headers.push(("access-control-request-method", asked.as_str()));
                } else {
                    headers.push(("authorization", authorization));
                }
                let page = browser.send(method, path, None, &headers).await;
                let expected = if allowed { origin } else { "" };
                assert_eq!(page.header("access-control-allow-origin"), expected, "{path} {origin}");
                assert!(page.header("access-control-allow-credentials").is_empty());
                assert!(page.header("vary").to_ascii_lowercase().contains("origin"));
            }
        }
    }
    let page = browser
        .send(
            Method::GET,
            &authorize("app", "openid", &[]),
            None,
            &[("origin", "https://app.example")],
        )
        .await;
    assert!(page.header("access-control-allow-origin").is_empty());
    server.stop().await;
}
