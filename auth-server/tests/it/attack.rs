//! What an attacker tries with codes and tokens; front channel, realms and signatures are in the modules below.

mod front;
mod realm;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use oidc::config::Client;
use oidc::testing;
use serde_json::json;

use crate::browser::Page;
use crate::database;
use crate::flow::{VERIFIER, authorize, code, exchange, member, post_as, refresh, sign_in_at};
use crate::server::{Server, TestFleet, within};

/// What revocations take to reach the other servers of a fleet at most.
const SPREAD: Duration = Duration::from_millis(1500);

async fn fleet() -> TestFleet {
    let clients = [testing::client("app"), testing::client("other")];
    TestFleet::new(database::postgres().await, clients).await
}

/// Whether introspection by `app` calls the token active.
pub(crate) async fn is_active(server: &Server, token: &str) -> bool {
    let page = post_as(server, "app", "/oauth2/introspect", &[("token", token)]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let answer = page.json();
    let active = answer["active"].as_bool().unwrap();
    assert!(active || answer == json!({"active": false}), "{answer}");
    active
}

/// The status of userinfo for an access token.
pub(crate) async fn userinfo(server: &Server, token: &str) -> Page {
    let bearer = format!("Bearer {token}");
    let mut browser = server.browser();
    browser
        .send(
            reqwest::Method::GET,
            "/oauth2/userinfo",
            None,
            &[("authorization", &bearer)],
        )
        .await
}

/// Asserts an error of the token endpoint (RFC 6749 §5.2).
#[track_caller]
pub(crate) fn assert_refused(page: &Page, status: u16, error: &str) {
    assert_eq!(page.status, status, "{}", page.body);
    assert_eq!(page.json()["error"], error);
    assert_eq!(page.header("cache-control"), "no-store");
}

#[actix_web::test]
async fn a_replayed_code_revokes_all_that_was_issued_for_it_on_every_server() {
    let fleet = fleet().await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    let code = code(&a, "app", "openid offline_access").await;
    let tokens = exchange(&a, "app", &code).await;
    let (access, first) = (member(&tokens, "access_token"), member(&tokens, "refresh_token"));
    let refreshed = refresh(&a, "app", &first).await;
    let (later, second) = (member(&refreshed, "access_token"), member(&refreshed, "refresh_token"));
    for token in [&access, &later, &second] {
        assert!(is_active(&a, token).await && is_active(&b, token).await);
    }

    assert_refused(&exchange(&b, "app", &code).await, 400, "invalid_grant");
    for token in [&access, &later, &first, &second] {
        assert!(!is_active(&b, token).await, "at once on the server that saw the replay");
    }
    within(SPREAD, "spread of the revocation", async || {
        !is_active(&a, &access).await
    })
    .await;
    for token in [&access, &later, &second] {
        assert!(!is_active(&a, token).await);
    }
    assert_eq!(userinfo(&a, &later).await.status, 401);
    assert_refused(&refresh(&a, "app", &second).await, 400, "invalid_grant");
    a.stop().await;
    b.stop().await;
}

#[actix_web::test]
async fn concurrent_exchanges_of_one_code_succeed_once_and_leave_nothing() {
    let fleet = fleet().await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    let code = code(&a, "app", "openid").await;
    let answers = join_all((0..16).map(|n| exchange(if n % 2 == 0 { &a } else { &b }, "app", &code))).await;
    let granted: Vec<&Page> = answers.iter().filter(|page| page.status == 200).collect();
    assert_eq!(granted.len(), 1);
    for page in answers.iter().filter(|page| page.status != 200) {
        assert_refused(page, 400, "invalid_grant");
    }
    let access = member(granted[0], "access_token");
    for server in [&a, &b] {
        within(SPREAD, "revocation", async || !is_active(server, &access).await).await;
    }
    a.stop().await;
    b.stop().await;
}

#[actix_web::test]
async fn a_replayed_refresh_token_ends_its_family_on_every_server() {
    let fleet = fleet().await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    let code = code(&a, "app", "openid").await;
    let tokens = exchange(&a, "app", &code).await;
    let stolen = member(&tokens, "refresh_token");
    let second = refresh(&a, "app", &stolen).await;
    let third = refresh(&a, "app", &member(&second, "refresh_token")).await;
    assert_refused(&refresh(&b, "app", &stolen).await, 400, "invalid_grant");
    assert_refused(
        &refresh(&a, "app", &member(&third, "refresh_token")).await,
        400,
        "invalid_grant",
    );
    for page in [&tokens, &second, &third] {
        let access = member(page, "access_token");
        assert!(!is_active(&b, &access).await);
        within(SPREAD, "spread of the revocation", async || {
            !is_active(&a, &access).await
        })
        .await;
    }
    a.stop().await;
    b.stop().await;
}

#[actix_web::test]
async fn of_64_concurrent_refreshes_of_one_token_exactly_one_lineage_survives() {
    let fleet = fleet().await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    let code = code(&a, "app", "openid").await;
    let tokens = exchange(&a, "app", &code).await;
    let first = member(&tokens, "refresh_token");
    let answers = join_all((0..64).map(|n| refresh(if n % 2 == 0 { &a } else { &b }, "app", &first))).await;
    let mut successors = Vec::new();
    for page in &answers {
        match page.status {
            200 => successors.push(member(page, "refresh_token")),
            _ => assert_refused(page, 400, "invalid_grant"),
        }
    }
    assert!(!successors.is_empty());
    // Every successor is the current token of the one family: none of them is ahead of another.
    for token in &successors {
        assert!(is_active(&a, token).await);
    }
    let next = refresh(&a, "app", &successors[0]).await;
    assert_eq!(next.status, 200, "{}", next.body);
    for token in &successors {
        assert!(!is_active(&b, token).await);
    }
    // The lineage is one: its first token, used again, ends it.
    assert_refused(&refresh(&b, "app", &first).await, 400, "invalid_grant");
    let last = member(&next, "refresh_token");
    assert_refused(&refresh(&a, "app", &last).await, 400, "invalid_grant");
    a.stop().await;
    b.stop().await;
}

#[actix_web::test]
async fn a_code_is_worth_nothing_to_another_client_and_stays_good_for_its_own() {
    let server = fleet().await.start().await;
    let code = code(&server, "app", "openid").await;
    assert_refused(&exchange(&server, "other", &code).await, 400, "invalid_grant");
    let wrong_secret = format!("Basic {}", crate::flow::basic("app", "guessed"));
    let form = [("grant_type", "authorization_code"), ("code", &code)];
    let headers = [("authorization", wrong_secret.as_str())];
    let mut stranger = server.browser();
    let answer = stranger.send(reqwest::Method::POST, "/oauth2/token", Some(&form), &headers);
    let answer = answer.await;
    assert_refused(&answer, 401, "invalid_client");
    assert!(answer.header("www-authenticate").starts_with("Basic "));
    assert_eq!(exchange(&server, "app", &code).await.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn a_refresh_token_is_worth_nothing_to_another_client_and_stays_good_for_its_own() {
    let server = fleet().await.start().await;
    let code = code(&server, "app", "openid").await;
    let token = member(&exchange(&server, "app", &code).await, "refresh_token");
    assert_refused(&refresh(&server, "other", &token).await, 400, "invalid_grant");
    let revoked = post_as(&server, "other", "/oauth2/revoke", &[("token", &token)]).await;
    assert_refused(&revoked, 400, "invalid_grant");
    let asked = post_as(&server, "other", "/oauth2/introspect", &[("token", &token)]).await;
    assert_eq!(asked.json(), json!({"active": false}));
    assert_eq!(refresh(&server, "app", &token).await.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn an_expired_code_is_refused() {
    let mut client = testing::client("app");
    Arc::make_mut(&mut client.tokens).lifetimes.code = Duration::from_millis(1);
    let server = TestFleet::new(database::postgres().await, [client]).await.start().await;
    let code = code(&server, "app", "openid").await;
    // Looked at with a wrong address, which does not spend it.
    within(SPREAD, "expiry", async || {
        let form = [("grant_type", "authorization_code"), ("code", code.as_str())];
        let page = post_as(&server, "app", "/oauth2/token", &form).await;
        member(&page, "error_description").contains("expired")
    })
    .await;
    assert_refused(&exchange(&server, "app", &code).await, 400, "invalid_grant");
    server.stop().await;
}

#[actix_web::test]
async fn expired_tokens_are_refused_everywhere() {
    let mut client = testing::client("app");
    let tokens = Arc::make_mut(&mut client.tokens);
    tokens.lifetimes.access = Duration::from_millis(1);
    tokens.lifetimes.refresh = Duration::from_millis(1);
    let server = TestFleet::new(database::postgres().await, [client]).await.start().await;
    let code = code(&server, "app", "openid").await;
    let tokens = exchange(&server, "app", &code).await;
    let (access, token) = (member(&tokens, "access_token"), member(&tokens, "refresh_token"));
    for token in [&access, &token] {
        within(SPREAD, "expiry", async || !is_active(&server, token).await).await;
    }
    let answer = userinfo(&server, &access).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    assert_refused(&refresh(&server, "app", &token).await, 400, "invalid_grant");
    server.stop().await;
}

#[actix_web::test]
async fn redirect_uri_and_verifier_must_be_those_of_the_authorization_request() {
    let spare = "https://app.example/second";
    let client = Client {
        redirect_uris: [testing::REDIRECT_URI.into(), spare.into()].into(),
        ..testing::client("app")
    };
    let server = TestFleet::new(database::postgres().await, [client]).await.start().await;
    let code = code(&server, "app", "openid").await;
    let other_verifier = "another-verifier-of-at-least-forty-three-characters";
    let attempts: [&[(&str, &str)]; 6] = [
        &[("code_verifier", VERIFIER)],
        &[("redirect_uri", spare), ("code_verifier", VERIFIER)],
        &[
            ("redirect_uri", "https://app.example/callback/"),
            ("code_verifier", VERIFIER),
        ],
        &[("redirect_uri", testing::REDIRECT_URI)],
        &[
            ("redirect_uri", testing::REDIRECT_URI),
            ("code_verifier", other_verifier),
        ],
        &[("redirect_uri", testing::REDIRECT_URI), ("code_verifier", "short")],
    ];
    for attempt in attempts {
        let mut form = vec![("grant_type", "authorization_code"), ("code", &code)];
        form.extend(attempt);
        assert_refused(
            &post_as(&server, "app", "/oauth2/token", &form).await,
            400,
            "invalid_grant",
        );
    }
    assert_eq!(exchange(&server, "app", &code).await.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn a_verifier_for_a_code_without_challenge_is_refused() {
    let client = Client {
        pkce_required: false,
        ..testing::client("app")
    };
    let server = TestFleet::new(database::postgres().await, [client]).await.start().await;
    let url = authorize("app", "openid", &[]);
    let url = url.split("&code_challenge=").next().unwrap();
    let page = sign_in_at(&mut server.browser(), url).await;
    let code = page.location_parameter("code").unwrap();
    assert_refused(&exchange(&server, "app", &code).await, 400, "invalid_grant");
    server.stop().await;
}
