//! Pages over HTTP: languages, headers and caching.

use oidc::testing;

use super::{fleet_of, in_locales, outcome_of, signed_in, start};
use crate::browser::Page;
use crate::flow::{authorize, sign_in_at};

#[actix_web::test]
async fn the_language_is_the_one_asked_for_that_the_realm_speaks() {
    let mut fleet = fleet_of(testing::client("app")).await;
    fleet.replace(in_locales(&["en", "de", "ar"]));
    let server = fleet.start().await;
    for (ui_locales, accept, html) in [
        ("", "", "lang=\"en\""),
        ("", "de-AT,de;q=0.9,en;q=0.5", "lang=\"de\""),
        ("", "fr, ar;q=0.3", "lang=\"ar\" dir=\"rtl\""),
        ("de", "ar", "lang=\"de\""),
        ("fr ar", "de", "lang=\"ar\" dir=\"rtl\""),
        ("fr", "xx", "lang=\"en\""),
        ("\"><script>", ";;;q=", "lang=\"en\""),
    ] {
        let headers = [("accept-language", accept)];
        let url = authorize("app", "openid", &[("ui_locales", ui_locales)]);
        let mut browser = server.browser();
        let page = browser.send(reqwest::Method::GET, &url, None, &headers).await;
        let start = page.body.split_once("<html").unwrap().1.split('>').next().unwrap();
        assert!(start.contains(html), "{ui_locales} {accept}: {start}");
        assert_eq!(start.contains("rtl"), html.contains("rtl"), "{start}");
    }
    server.stop().await;
}

#[actix_web::test]
async fn form_post_posts_to_the_client_alone() {
    let server = start().await;
    let (mut ada, _) = signed_in(&server, "openid").await;
    let page = ada
        .get(&authorize("app", "openid", &[("response_mode", "form_post")]))
        .await;
    assert_eq!(outcome_of(&page), "form-post");
    assert!(
        page.body.contains("action=\"https://app.example/callback\""),
        "{}",
        page.body
    );
    assert_eq!(
        (page.field("state"), page.field("iss")),
        ("s1".into(), testing::ISSUER.into())
    );
    let policy = page.header("content-security-policy");
    assert!(policy.contains("form-action https://app.example;") || policy.ends_with("form-action https://app.example"));
    assert!(
        policy.contains("script-src 'sha256-") && !policy.contains("unsafe-inline"),
        "{policy}"
    );
    let code = page.field("code");
    assert_eq!(crate::flow::exchange(&server, "app", &code).await.status, 200);

    // Errors are posted, too; other modes are not answered in.
    let silent = [("response_mode", "form_post"), ("prompt", "none")];
    let page = server.browser().get(&authorize("app", "openid", &silent)).await;
    assert_eq!(
        (outcome_of(&page), page.field("error")),
        ("form-post".into(), "login_required".into())
    );
    let fragment = authorize("app", "openid", &[("response_mode", "fragment")]);
    let page = server.browser().get(&fragment).await;
    assert_eq!(page.location_parameter("error").as_deref(), Some("invalid_request"));
    server.stop().await;
}

fn shown(page: &Page) -> String {
    let policy = page.header("content-security-policy");
    let mut headers: Vec<String> = [
        "cache-control",
        "permissions-policy",
        "referrer-policy",
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
    ]
    .into_iter()
    .map(|name| format!("{name}: {}", page.header(name)))
    .collect();
    let policy: Vec<&str> = policy.split("; ").collect();
    let policy = policy.iter().map(|directive| match directive.split_once("'nonce-") {
        Some((before, _)) => format!("{before}'nonce-…'"),
        None => (*directive).to_owned(),
    });
    headers.push(format!(
        "content-security-policy: {}",
        policy.collect::<Vec<_>>().join("; ")
    ));
    headers.join("\n")
}

#[actix_web::test]
async fn every_page_carries_the_same_protection() {
    let server = start().await;
    let mut stranger = server.browser();
    let sign_in = stranger.get(&authorize("app", "openid", &[])).await;
    let first = shown(&sign_in);
    insta::assert_snapshot!(first, @r"
    cache-control: no-store
    permissions-policy: accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=()
    referrer-policy: same-origin
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-frame-options: DENY
    content-security-policy: default-src 'none'; style-src 'nonce-…'; script-src 'nonce-…'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'
    ");
    let (mut ada, _) = signed_in(&server, "openid").await;
    for page in [
        ada.get(&authorize("app", "openid", &[("prompt", "select_account")]))
            .await,
        ada.get(&authorize("app", "openid", &[("prompt", "consent")])).await,
        ada.get(&authorize("app", "openid", &[("prompt", "login")])).await,
        ada.get("/oauth2/end_session").await,
        stranger.get("/oauth2/end_session").await,
        stranger.get("/oauth2/authorize").await,
        stranger.get("/login").await,
        stranger.post("/login", &[("flow", "x")]).await,
    ] {
        assert_eq!(shown(&page), first, "{}", page.body);
        assert!(page.header("content-type").starts_with("text/html"));
    }
    // The nonce is new each time.
    let again = stranger.get(&authorize("app", "openid", &[])).await;
    assert_ne!(
        again.header("content-security-policy"),
        sign_in.header("content-security-policy")
    );
    server.stop().await;
}

#[actix_web::test]
async fn answers_with_secrets_are_never_stored_and_assets_are_for_ever() {
    let server = start().await;
    let mut ada = server.browser();
    let page = sign_in_at(&mut ada, &authorize("app", "openid", &[])).await;
    assert_eq!(page.header("cache-control"), "no-store");
    let tokens = crate::flow::exchange(&server, "app", &page.location_parameter("code").unwrap()).await;
    assert_eq!(
        (tokens.header("cache-control"), tokens.header("pragma")),
        ("no-store", "no-cache")
    );
    let page = ada.get("/oauth2/jwks").await;
    assert_eq!(page.header("cache-control"), "public, max-age=300");
    let page = ada.get(&authorize("app", "openid", &[("prompt", "login")])).await;
    let asset = page
        .body
        .split("href=\"/assets/")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let asset = ada.get(&format!("/assets/{asset}")).await;
    assert_eq!(asset.status, 200);
    assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
    for nearby in [
        "/assets/",
        "/assets/../Cargo.toml",
        "/assets/%2e%2e/x",
        "/logo/x",
        "/client-logo/app",
    ] {
        assert_eq!(ada.get(nearby).await.status, 404, "{nearby}");
    }
    server.stop().await;
}
