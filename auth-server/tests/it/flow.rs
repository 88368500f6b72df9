//! The steps of an authorization code flow, and the flow as a whole on both databases.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oidc::testing;

use crate::browser::{Browser, Page};
use crate::database;
use crate::server::{ADA, Server, TestFleet};

/// A PKCE verifier and its challenge.
pub(crate) const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-long";

/// The S256 challenge of [`VERIFIER`].
pub(crate) fn challenge() -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// An authorization request of `client_id`, with more parameters behind it.
pub(crate) fn authorize(client_id: &str, scope: &str, more: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", testing::REDIRECT_URI),
        ("scope", scope),
        ("state", "s1"),
        ("nonce", "n1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    query.extend_pairs(more);
    format!("/oauth2/authorize?{}", query.finish())
}

/// Posts the sign-in form of `page`.
pub(crate) async fn sign_in(browser: &mut Browser, page: &Page, username: &str, password: &str) -> Page {
    let (flow, csrf) = (page.field("flow"), page.field("csrf"));
    let form = [
        ("flow", flow.as_str()),
        ("csrf", csrf.as_str()),
        ("username", username),
        ("password", password),
    ];
    browser.post("/login", &form).await
}

/// Signs Ada in at `url` and follows our own redirects up to the client; the redirect to the client.
pub(crate) async fn sign_in_at(browser: &mut Browser, url: &str) -> Page {
    let page = browser.get(url).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let mut page = sign_in(browser, &page, ADA.0, ADA.1).await;
    while page.location().starts_with(testing::ISSUER) {
        let next = page.location().to_owned();
        page = browser.get(&next).await;
    }
    page
}

/// A code for `client_id`, from a fresh sign-in.
pub(crate) async fn code(server: &Server, client_id: &str, scope: &str) -> String {
    let page = sign_in_at(&mut server.browser(), &authorize(client_id, scope, &[])).await;
    page.location_parameter("code").unwrap()
}

/// The credentials of HTTP Basic.
pub(crate) fn basic(client_id: &str, secret: &str) -> String {
    STANDARD.encode(format!("{client_id}:{secret}"))
}

/// A form for the token endpoint, authenticated as `client_id` by HTTP Basic.
pub(crate) async fn post_as(server: &Server, client_id: &str, path: &str, form: &[(&str, &str)]) -> Page {
    let authorization = format!("Basic {}", basic(client_id, &testing::secret_of(client_id)));
    let mut browser = server.browser();
    browser
        .send(
            reqwest::Method::POST,
            path,
            Some(form),
            &[("authorization", &authorization)],
        )
        .await
}

/// Exchanges `code`.
pub(crate) async fn exchange(server: &Server, client_id: &str, code: &str) -> Page {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", testing::REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    post_as(server, client_id, "/oauth2/token", &form).await
}

/// Refreshes with `token`.
pub(crate) async fn refresh(server: &Server, client_id: &str, token: &str) -> Page {
    post_as(
        server,
        client_id,
        "/oauth2/token",
        &[("grant_type", "refresh_token"), ("refresh_token", token)],
    )
    .await
}

/// The string member of a JSON answer.
pub(crate) fn member(page: &Page, name: &str) -> String {
    page.json()[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {}", page.body))
        .to_owned()
}

async fn check_whole_flow(fleet: TestFleet) {
    let server = fleet.start().await;
    let code = code(&server, "app", "openid profile email offline_access").await;
    let tokens = exchange(&server, "app", &code).await;
    assert_eq!(
        (tokens.status, tokens.header("cache-control")),
        (200, "no-store"),
        "{}",
        tokens.body
    );
    let access = member(&tokens, "access_token");

    let bearer = format!("Bearer {access}");
    for method in [reqwest::Method::GET, reqwest::Method::POST] {
        let mut browser = server.browser();
        let userinfo = browser
            .send(method, "/oauth2/userinfo", None, &[("authorization", &bearer)])
            .await;
        assert_eq!(userinfo.json()["name"], "Ada Lovelace");
        assert_eq!(userinfo.json()["email"], "ada@example.com");
        assert!(userinfo.json()["phone_number"].is_null());
    }

    let again = refresh(&server, "app", &member(&tokens, "refresh_token")).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let introspection = post_as(&server, "app", "/oauth2/introspect", &[("token", &access)]).await;
    assert_eq!(introspection.json()["active"], true);

    let revoked = post_as(
        &server,
        "app",
        "/oauth2/revoke",
        &[("token", &member(&again, "refresh_token"))],
    )
    .await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    for token in [
        &access,
        &member(&again, "access_token"),
        &member(&again, "refresh_token"),
    ] {
        let introspection = post_as(&server, "app", "/oauth2/introspect", &[("token", token)]).await;
        assert_eq!(introspection.json(), serde_json::json!({"active": false}));
    }
    server.stop().await;
}

#[actix_web::test]
async fn the_whole_flow_on_sqlite() {
    check_whole_flow(TestFleet::new(database::sqlite().await, [testing::client("app")]).await).await;
}

#[actix_web::test]
async fn the_whole_flow_on_postgres() {
    check_whole_flow(TestFleet::new(database::postgres().await, [testing::client("app")]).await).await;
}

#[actix_web::test]
async fn discovery_and_jwks_are_found_at_every_address_and_revalidated() {
    let server = TestFleet::new(database::sqlite().await, []).await.start().await;
    let mut browser = server.browser();
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.json()["issuer"], testing::ISSUER);
        let again = server
            .http()
            .get(format!("{}{path}", server.base()))
            .header("host", "id.example");
        let again = again.header("if-none-match", page.header("etag")).send().await.unwrap();
        assert_eq!(again.status(), 304);
    }
    assert_eq!(
        browser.get("/oauth2/jwks").await.json()["keys"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        browser
            .clone()
            .on_host("other.example")
            .get("/oauth2/jwks")
            .await
            .status,
        404
    );
    server.stop().await;
}
