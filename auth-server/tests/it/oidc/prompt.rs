//! prompt, max_age, hints: when people are asked, and who the answer is about.

use oidc::config::{Client, ConsentRule};
use oidc::testing;
use std::sync::Arc;
use std::time::Duration;

use super::{claims_of, fleet_of, follow, id_token, outcome, outcome_of, signed_in, start, submit};
use crate::flow::{authorize, exchange, member, sign_in, sign_in_at};
use crate::server::ADA;

#[actix_web::test]
async fn prompt_none_never_shows_a_page() {
    let server = start().await;
    let mut stranger = server.browser();
    assert_eq!(outcome(&mut stranger, &[("prompt", "none")]).await, "login_required");
    let (mut ada, _) = signed_in(&server, "openid").await;
    assert_eq!(outcome(&mut ada, &[("prompt", "none")]).await, "code");
    let stale = [("prompt", "none"), ("max_age", "0")];
    assert_eq!(outcome(&mut ada, &stale).await, "login_required");
    let both = [("prompt", "none login")];
    assert_eq!(outcome(&mut ada, &both).await, "invalid_request");
    assert_eq!(outcome(&mut ada, &[("prompt", "create")]).await, "invalid_request");
    server.stop().await;
}

#[actix_web::test]
async fn a_live_session_signs_on_without_a_page() {
    let server = start().await;
    let (mut ada, _) = signed_in(&server, "openid").await;
    assert_eq!(outcome(&mut ada, &[]).await, "code");
    assert_eq!(outcome(&mut ada, &[("max_age", "3600")]).await, "code");
    server.stop().await;
}

#[actix_web::test]
async fn prompt_login_and_max_age_0_ask_for_the_password_of_the_same_person_again() {
    let server = start().await;
    for asked in [("prompt", "login"), ("max_age", "0")] {
        let (mut ada, tokens) = signed_in(&server, "openid").await;
        let before = claims_of(&member(&tokens, "id_token"));
        let page = ada.get(&authorize("app", "openid", &[asked])).await;
        assert_eq!(outcome_of(&page), "sign-in-form");
        assert!(page.has_id("account") && page.has_id("not-you") && !page.has_id("username"));
        let wrong = submit(&mut ada, &page, "/login", &[("password", "not it")]).await;
        assert_eq!((wrong.status, wrong.has_id("sign-in-form")), (422, true));
        let again = submit(&mut ada, &wrong, "/login", &[("password", ADA.1)]).await;
        let page = follow(&mut ada, again).await;
        assert_eq!(outcome_of(&page), "code");
        let after = claims_of(&id_token(&server, &page).await);
        assert_eq!(after["sid"], before["sid"]);
        assert!(after["auth_time"].as_i64().unwrap() >= before["auth_time"].as_i64().unwrap());
    }
    server.stop().await;
}

#[actix_web::test]
async fn prompt_select_account_offers_the_session_or_another_sign_in() {
    let fleet = fleet_of(testing::client("app")).await;
    fleet.add_person("bob", "a password of bob").await;
    let server = fleet.start().await;
    let (mut ada, tokens) = signed_in(&server, "openid").await;
    let of_ada = claims_of(&member(&tokens, "id_token"));
    let url = authorize("app", "openid", &[("prompt", "select_account")]);

    let page = ada.get(&url).await;
    assert_eq!(outcome_of(&page), "choose-form");
    assert!(page.body.contains("ada@example.com"));
    let chosen = submit(&mut ada, &page, "/choose-account", &[("choice", "continue")]).await;
    let page = follow(&mut ada, chosen).await;
    let same = claims_of(&id_token(&server, &page).await);
    assert_eq!((&same["sub"], &same["sid"]), (&of_ada["sub"], &of_ada["sid"]));

    let page = ada.get(&url).await;
    let chosen = submit(&mut ada, &page, "/choose-account", &[("choice", "other")]).await;
    let page = follow(&mut ada, chosen).await;
    assert_eq!(outcome_of(&page), "sign-in-form");
    let entered = sign_in(&mut ada, &page, "bob", "a password of bob").await;
    let page = follow(&mut ada, entered).await;
    let of_bob = claims_of(&id_token(&server, &page).await);
    assert_ne!(of_bob["sub"], of_ada["sub"]);
    assert_ne!(of_bob["sid"], of_ada["sid"]);

    let page = ada.get(&url).await;
    let neither = submit(&mut ada, &page, "/choose-account", &[("choice", "both")]).await;
    assert_eq!(neither.status, 400);
    server.stop().await;
}

#[actix_web::test]
async fn login_hint_fills_the_field_as_text() {
    let server = start().await;
    let hint = [("login_hint", "ada@example.com")];
    let page = server.browser().get(&authorize("app", "openid", &hint)).await;
    assert!(page.body.contains("value=\"ada@example.com\""), "{}", page.body);
    let hint = [("login_hint", "\"><script>alert(1)</script>")];
    let page = server.browser().get(&authorize("app", "openid", &hint)).await;
    assert!(!page.body.contains("<script>alert"), "{}", page.body);
    server.stop().await;
}

#[actix_web::test]
async fn the_answer_is_about_whom_the_id_token_hint_names_or_nobody() {
    let mut client = testing::client("app");
    // Hints are good long after they expired.
    Arc::make_mut(&mut client.tokens).lifetimes.id = Duration::from_millis(1);
    let fleet = fleet_of(client).await;
    fleet.add_person("bob", "a password of bob").await;
    let server = fleet.start().await;
    let (mut ada, tokens) = signed_in(&server, "openid").await;
    let own = member(&tokens, "id_token");
    let mut bob = server.browser();
    let page = bob.get(&authorize("app", "openid", &[])).await;
    let entered = sign_in(&mut bob, &page, "bob", "a password of bob").await;
    let page = follow(&mut bob, entered).await;
    let of_bob = id_token(&server, &page).await;

    let silent = |hint| [("prompt", "none"), ("id_token_hint", hint)];
    assert_eq!(outcome(&mut ada, &silent(&own)).await, "code");
    assert_eq!(outcome(&mut ada, &silent(&of_bob)).await, "login_required");
    assert_eq!(outcome(&mut ada, &silent("garbage")).await, "login_required");
    assert_eq!(outcome(&mut ada, &silent("a.b.c")).await, "login_required");
    assert_eq!(outcome(&mut ada, &[("id_token_hint", &own)]).await, "code");
    assert_eq!(outcome(&mut ada, &[("id_token_hint", "garbage")]).await, "code");

    // Not silent: the other person may sign in, and only that one satisfies the client.
    let page = ada
        .get(&authorize("app", "openid", &[("id_token_hint", &of_bob)]))
        .await;
    assert_eq!(outcome_of(&page), "sign-in-form");
    let entered = sign_in(&mut ada, &page, ADA.0, ADA.1).await;
    assert_eq!(outcome_of(&follow(&mut ada, entered).await), "login_required");
    let page = ada
        .get(&authorize("app", "openid", &[("id_token_hint", &of_bob)]))
        .await;
    let entered = sign_in(&mut ada, &page, "bob", "a password of bob").await;
    assert_eq!(outcome_of(&follow(&mut ada, entered).await), "code");
    server.stop().await;
}

#[actix_web::test]
async fn a_posted_request_goes_on_with_a_get_that_has_the_cookies() {
    let server = start().await;
    let (ada, _) = signed_in(&server, "openid").await;
    let long_state = "s".repeat(3000);
    for state in ["s1", long_state.as_str()] {
        let challenge = crate::flow::challenge();
        let form = [
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", testing::REDIRECT_URI),
            ("scope", "openid"),
            ("state", state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        // From another site: no Lax cookie comes along.
        let mut without_cookies = server.browser();
        let cross_site = [("sec-fetch-site", "cross-site"), ("origin", "https://app.example")];
        let page = without_cookies
            .send(reqwest::Method::POST, "/oauth2/authorize", Some(&form), &cross_site)
            .await;
        assert!(page.headers.get("set-cookie").is_none());
        let next = page.location().to_owned();
        assert!(next.starts_with("https://id.example/oauth2/authorize?flow="), "{next}");
        assert!(next.len() < 2000, "{}", next.len());
        let page = ada.clone().get(&next).await;
        assert!(page.location_parameter("code").is_some(), "{}", page.body);
        assert_eq!(page.location_parameter("state").as_deref(), Some(state));
    }
    server.stop().await;
}

#[actix_web::test]
async fn consent_is_asked_denied_allowed_and_remembered() {
    let client = Client {
        consent: ConsentRule::Remember,
        ..testing::client("app")
    };
    let server = fleet_of(client).await.start().await;
    let mut ada = server.browser();
    let page = ada.get(&authorize("app", "openid email", &[])).await;
    let entered = sign_in(&mut ada, &page, ADA.0, ADA.1).await;
    let page = follow(&mut ada, entered).await;
    assert_eq!(outcome_of(&page), "consent-form");
    assert_eq!(outcome(&mut ada, &[("prompt", "none")]).await, "consent_required");

    let denied = submit(&mut ada, &page, "/consent", &[("decision", "deny")]).await;
    assert_eq!(outcome_of(&denied), "access_denied");
    let neither = submit(&mut ada, &page, "/consent", &[("decision", "perhaps")]).await;
    assert_eq!(neither.status, 400);
    let cross_site = page.field("flow");
    let form = [("flow", cross_site.as_str()), ("decision", "allow")];
    assert_eq!(ada.post("/consent", &form).await.status, 403, "without its token");

    let page = ada.get(&authorize("app", "openid email", &[])).await;
    let allowed = submit(&mut ada, &page, "/consent", &[("decision", "allow")]).await;
    let allowed = follow(&mut ada, allowed).await;
    assert_eq!(outcome_of(&allowed), "code");
    let code = allowed.location_parameter("code").unwrap();
    assert_eq!(exchange(&server, "app", &code).await.status, 200);

    // Remembered for these scopes, for fewer, and in other browsers; not for more; and never against the client's wish.
    assert_eq!(outcome(&mut ada, &[("prompt", "none")]).await, "code");
    let elsewhere = sign_in_at(&mut server.browser(), &authorize("app", "openid email", &[])).await;
    assert_eq!(outcome_of(&elsewhere), "code");
    let more = ada.get(&authorize("app", "openid email phone", &[])).await;
    assert_eq!(outcome_of(&more), "consent-form");
    assert_eq!(outcome(&mut ada, &[("prompt", "consent")]).await, "consent-form");
    server.stop().await;
}

#[actix_web::test]
async fn a_session_ends_when_it_is_idle_or_too_old() {
    for (lifetime, idle) in [(1, 3600), (3600, 1)] {
        let mut fleet = fleet_of(testing::client("app")).await;
        let mut realm = testing::realm();
        realm.sessions.lifetime = Duration::from_secs(lifetime);
        realm.sessions.idle = Duration::from_secs(idle);
        fleet.replace(oidc::config::Resource::Realm(realm));
        let server = fleet.start().await;
        let mut ada = server.browser();
        let page = ada.get(&authorize("app", "openid", &[])).await;
        // Not followed any further: on a busy machine the session may be over by then.
        assert_eq!(sign_in(&mut ada, &page, ADA.0, ADA.1).await.status, 303);
        crate::server::within(Duration::from_secs(10), "end of the session", async || {
            outcome(&mut ada.clone(), &[("prompt", "none")]).await == "login_required"
        })
        .await;
        server.stop().await;
    }
}
