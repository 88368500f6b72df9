//! What an attacker tries through somebody else's browser.

use oidc::testing;
use reqwest::Method;

use super::fleet;
use crate::browser::{Browser, Page};
use crate::database;
use crate::flow::{authorize, sign_in, sign_in_at};
use crate::server::{ADA, Server, TestFleet};

fn session_cookie(browser: &mut Browser) -> Option<String> {
    let cookies = browser.cookies();
    cookies
        .iter()
        .find(|(name, _)| name.contains("-session-"))
        .map(|(_, value)| value.clone())
}

async fn silent(browser: &mut Browser) -> Page {
    browser.get(&authorize("app", "openid", &[("prompt", "none")])).await
}

async fn assert_signed_out(browser: &mut Browser) {
    let page = silent(browser).await;
    assert_eq!(page.location_parameter("error").as_deref(), Some("login_required"));
}

/// Posts the sign-in form of `page`, with the right password, under these headers.
async fn submit(browser: &mut Browser, page: &Page, headers: &[(&str, &str)]) -> Page {
    let (flow, csrf) = (page.field("flow"), page.field("csrf"));
    let form = [
        ("flow", flow.as_str()),
        ("csrf", csrf.as_str()),
        ("username", ADA.0),
        ("password", ADA.1),
    ];
    browser.send(Method::POST, "/login", Some(&form), headers).await
}

#[actix_web::test]
async fn a_planted_session_never_becomes_the_session_of_who_signs_in() {
    let fleet = fleet().await;
    fleet.add_person("mallory", "a password of mallory").await;
    let server = fleet.start().await;
    let mut mallory = server.browser();
    let page = mallory.get(&authorize("app", "openid", &[])).await;
    sign_in(&mut mallory, &page, "mallory", "a password of mallory").await;
    let planted = mallory.cookies().clone();

    let mut ada = server.browser();
    ada.cookies().extend(planted.clone());
    let page = ada
        .get(&authorize("app", "openid", &[("prompt", "select_account")]))
        .await;
    let (flow, csrf) = (page.field("flow"), page.field("csrf"));
    let form = [("flow", flow.as_str()), ("csrf", csrf.as_str()), ("choice", "other")];
    let next = ada.post("/choose-account", &form).await.location().to_owned();
    let page = ada.get(&next).await;
    let page = sign_in(&mut ada, &page, ADA.0, ADA.1).await;
    assert_eq!(page.status, 303);
    let of_ada = session_cookie(&mut ada).unwrap();
    assert!(!planted.values().any(|value| *value == of_ada));

    // Mallory's copies still say Mallory, and random values say nobody.
    let mut still_mallory = server.browser();
    still_mallory.cookies().extend(planted.clone());
    let code = silent(&mut still_mallory).await.location_parameter("code").unwrap();
    let tokens = crate::flow::exchange(&server, "app", &code).await;
    let access = crate::flow::member(&tokens, "access_token");
    let claims = super::userinfo(&server, &access).await;
    assert_ne!(claims.json()["name"], "Ada Lovelace");
    let mut nobody = server.browser();
    for (name, value) in planted {
        nobody.cookies().insert(name, value.chars().rev().collect());
    }
    assert_signed_out(&mut nobody).await;
    server.stop().await;
}

#[actix_web::test]
async fn a_form_of_another_browser_signs_nobody_in() {
    let server = fleet().await.start().await;
    let (mut mallory, mut ada) = (server.browser(), server.browser());
    let form = mallory.get(&authorize("app", "openid", &[])).await;
    let refused = submit(&mut ada, &form, &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!((refused.status, session_cookie(&mut ada)), (400, None));
    assert!(refused.has_id("error-summary"));
    // Also when that browser has a form of its own open.
    ada.get(&authorize("app", "openid", &[])).await;
    let refused = submit(&mut ada, &form, &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!((refused.status, session_cookie(&mut ada)), (400, None));
    assert_signed_out(&mut ada).await;
    server.stop().await;
}

#[actix_web::test]
async fn a_form_posted_from_another_site_is_refused() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    let form = browser.get(&authorize("app", "openid", &[])).await;
    let crosswise: [&[(&str, &str)]; 7] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://id.example")],
        &[("origin", "https://evil.example")],
        &[("origin", "https://id.example.evil.example")],
        &[("origin", "null")],
    ];
    for headers in crosswise {
        let refused = submit(&mut browser, &form, headers).await;
        assert_eq!(
            (refused.status, session_cookie(&mut browser)),
            (403, None),
            "{headers:?}: {}",
            refused.body
        );
    }
    for headers in [[("sec-fetch-site", "same-origin")], [("origin", "https://id.example")]] {
        let mut browser = server.browser();
        let form = browser.get(&authorize("app", "openid", &[])).await;
        let entered = submit(&mut browser, &form, &headers).await;
        assert_eq!(entered.status, 303, "{}", entered.body);
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_form_without_its_token_is_refused() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    let form = browser.get(&authorize("app", "openid", &[])).await;
    let (flow, csrf) = (form.field("flow"), form.field("csrf"));
    for (flow, csrf) in [
        (flow.as_str(), ""),
        (flow.as_str(), "guess"),
        (flow.as_str(), flow.as_str()),
        ("", csrf.as_str()),
        ("guess", csrf.as_str()),
    ] {
        let form = [("flow", flow), ("csrf", csrf), ("username", ADA.0), ("password", ADA.1)];
        let refused = browser.post("/login", &form).await;
        assert!(matches!(refused.status, 400 | 403), "{}", refused.body);
        assert_eq!(session_cookie(&mut browser), None);
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_sign_in_form_works_once() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    let form = browser.get(&authorize("app", "openid", &[])).await;
    let binding = browser.cookies().clone();
    let headers = [("sec-fetch-site", "same-origin")];
    assert_eq!(submit(&mut browser, &form, &headers).await.status, 303);
    let hint = browser.get("/oauth2/end_session").await;
    let (flow, csrf) = (hint.field("flow"), hint.field("csrf"));
    let out = browser.post("/logout", &[("flow", &flow), ("csrf", &csrf)]).await;
    assert_eq!(out.status, 200);
    *browser.cookies() = binding;
    let again = submit(&mut browser, &form, &headers).await;
    assert_eq!(session_cookie(&mut browser), None, "{}", again.body);
    assert_eq!((again.status, again.has_id("sign-in-form")), (400, true));
    server.stop().await;
}

#[actix_web::test]
async fn no_answer_may_be_framed() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    let signed_in = authorize("app", "openid", &[]);
    for path in [
        signed_in.as_str(),
        "/oauth2/authorize",
        "/oauth2/end_session",
        "/oauth2/token",
        "/oauth2/userinfo",
        "/oauth2/jwks",
        "/nothing",
        "/",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        let policy = page.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-inline") && !policy.contains('*'), "{policy}");
    }
    server.stop().await;
}

/// Redirect URIs near the registered `https://app.example/callback`, none of which is it.
const HOSTILE: &[&str] = &[
    "",
    "https://evil.example/callback",
    "https://app.example/callback/",
    "https://app.example/callback?x=1",
    "https://app.example/callback#x",
    "https://app.example/callback/../other",
    "https://app.example/Callback",
    "https://APP.example/callback",
    "https://app.example:443/callback",
    "https://app.example:8443/callback",
    "https://app.example./callback",
    "https://app.example.evil.example/callback",
    "https://app.example@evil.example/callback",
    "https://evil.example\\@app.example/callback",
    "https://app.example\\.evil.example/callback",
    "https://app.example%2f@evil.example/callback",
    "http://app.example/callback",
    "//app.example/callback",
    "//evil.example/callback",
    "/callback",
    "callback",
    "https:app.example/callback",
    "https:///app.example/callback",
    "https://app.example/callback\r\nLocation: https://evil.example",
    "https://app.example/callback\t",
    " https://app.example/callback",
    "https://app.example/callback ",
    "https://app.example/c\u{430}llback",
    "https://\u{430}pp.example/callback",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "https://app.example/callback\"><script>alert(1)</script>",
    "https://*.example/callback",
    "https://app.example/%63allback",
];

/// The address and what stands around it must not come back as markup or as a way to go on.
fn assert_explained(page: &Page, sent: &str) {
    assert_eq!(page.status, 400, "{sent}: {}", page.body);
    assert!(page.header("location").is_empty() && page.header("refresh").is_empty());
    assert!(page.has_id("error-summary"), "{sent}");
    assert!(
        !page.body.contains("evil.example") && !page.body.contains("alert(1)"),
        "{sent}"
    );
}

#[actix_web::test]
async fn an_unregistered_redirect_uri_is_explained_and_never_gone_to() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    for signed_in in [false, true] {
        if signed_in {
            sign_in_at(&mut browser, &authorize("app", "openid", &[])).await;
        }
        for sent in HOSTILE {
            for extra in [
                &[][..],
                &[("prompt", "none")],
                &[("response_type", "token")],
                &[("response_mode", "form_post")],
            ] {
                let mut form = vec![
                    ("response_type", "code"),
                    ("client_id", "app"),
                    ("redirect_uri", *sent),
                    ("scope", "openid"),
                ];
                form.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
                form.extend(extra);
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(&form)
                    .finish();
                let page = browser.get(&format!("/oauth2/authorize?{query}")).await;
                assert_explained(&page, sent);
            }
            let form = [
                ("response_type", "code"),
                ("client_id", "app"),
                ("redirect_uri", *sent),
                ("scope", "openid"),
            ];
            let cross_site = [("sec-fetch-site", "cross-site")];
            let page = browser
                .send(Method::POST, "/oauth2/authorize", Some(&form), &cross_site)
                .await;
            assert_explained(&page, sent);
        }
    }
    server.stop().await;
}

#[actix_web::test]
async fn an_unregistered_post_logout_redirect_uri_is_explained_and_never_gone_to() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    let page = sign_in_at(&mut browser, &authorize("app", "openid", &[])).await;
    let code = page.location_parameter("code").unwrap();
    let hint = crate::flow::member(&crate::flow::exchange(&server, "app", &code).await, "id_token");
    for sent in HOSTILE.iter().filter(|sent| !sent.is_empty()) {
        for by in [("id_token_hint", hint.as_str()), ("client_id", "app"), ("x", "y")] {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs([by, ("post_logout_redirect_uri", sent)])
                .finish();
            let page = browser.get(&format!("/oauth2/end_session?{query}")).await;
            assert_explained(&page, sent);
        }
    }
    assert!(silent(&mut browser).await.location_parameter("code").is_some());
    server.stop().await;
}

#[actix_web::test]
async fn two_cookies_of_one_name_are_refused_and_cleared() {
    let server = fleet().await.start().await;
    let mut browser = server.browser();
    sign_in_at(&mut browser, &authorize("app", "openid", &[])).await;
    for (name, value) in browser.cookies().clone() {
        let mut planted = browser.clone();
        let page = planted
            .send(
                Method::GET,
                &authorize("app", "openid", &[]),
                None,
                &[("cookie", &format!("{name}={value}x"))],
            )
            .await;
        assert_eq!(page.status, 400, "{name}: {}", page.body);
        assert!(page.has_id("error-summary"));
        assert!(planted.cookies().is_empty(), "{:?}", planted.cookies());
        // Cleared, the person signs in anew.
        let page = planted.get(&authorize("app", "openid", &[])).await;
        assert!(page.has_id("sign-in-form"));
    }
    server.stop().await;
}

async fn statuses(server: &Server, host: &str, headers: &[(&str, &str)]) -> u16 {
    let mut browser = server.browser().on_host(host);
    let page = browser
        .send(Method::GET, "/.well-known/openid-configuration", None, headers)
        .await;
    if page.status == 200 {
        assert_eq!(page.json()["issuer"], testing::ISSUER, "{}", page.body);
        assert!(!page.body.contains("evil.example"));
    }
    page.status
}

#[actix_web::test]
async fn hosts_of_no_realm_and_forwarded_hosts_of_strangers_lead_nowhere() {
    let mut fleet = TestFleet::new(database::sqlite().await, []).await;
    let server = fleet.start().await;
    for host in [
        "evil.example",
        "id.example.evil.example",
        "id.example:8080",
        "id.example.",
        "sub.id.example",
        "127.0.0.1",
        "localhost",
    ] {
        assert_eq!(statuses(&server, host, &[]).await, 404, "{host}");
        let claims = [("x-forwarded-host", "id.example"), ("forwarded", "host=id.example")];
        assert_eq!(statuses(&server, host, &claims).await, 404, "{host}");
    }
    let lies = [
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-original-url", "/evil"),
    ];
    assert_eq!(statuses(&server, "id.example", &lies).await, 200);
    assert_eq!(statuses(&server, "ID.example:443", &lies).await, 200);
    server.stop().await;

    fleet.trust("127.0.0.0/8");
    let server = fleet.start().await;
    let told = [("x-forwarded-host", "id.example")];
    assert_eq!(statuses(&server, "inner.cluster", &told).await, 200);
    assert_eq!(statuses(&server, "id.example", &lies).await, 404);
    server.stop().await;
}
