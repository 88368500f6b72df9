//! RP-initiated sign-out: who is asked, where it ends, and what it ends.

use std::time::Duration;

use super::{outcome, signed_in, start, submit};
use crate::attack::is_active;
use crate::browser::Page;
use crate::flow::{member, refresh};
use crate::server::within;

const DONE: &str = "https://app.example/signed-out";

fn end_session(parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    format!("/oauth2/end_session?{query}")
}

fn is_page(page: &Page, id: &str) -> bool {
    page.status == 200 && page.has_id(id)
}

#[actix_web::test]
async fn an_id_token_of_the_session_ends_it_and_leads_back_to_the_client() {
    let server = start().await;
    let (mut ada, tokens) = signed_in(&server, "openid").await;
    let (mut elsewhere, _) = signed_in(&server, "openid").await;
    let hint = member(&tokens, "id_token");
    let url = end_session(&[
        ("id_token_hint", &hint),
        ("post_logout_redirect_uri", DONE),
        ("state", "a b&c"),
    ]);
    let before = ada.clone();
    let page = ada.get(&url).await;
    assert_eq!(page.location(), format!("{DONE}?state=a+b%26c"));
    assert_eq!(outcome(&mut ada, &[("prompt", "none")]).await, "login_required");
    // Copies of its cookies are worth nothing; sessions in other browsers are untouched.
    assert_eq!(
        outcome(&mut before.clone(), &[("prompt", "none")]).await,
        "login_required"
    );
    assert_eq!(outcome(&mut elsewhere, &[("prompt", "none")]).await, "code");
    // Its tokens ended with it.
    assert!(!is_active(&server, &member(&tokens, "access_token")).await);
    let page = refresh(&server, "app", &member(&tokens, "refresh_token")).await;
    assert_eq!((page.status, &page.json()["error"]), (400, &"invalid_grant".into()));
    server.stop().await;
}

#[actix_web::test]
async fn offline_access_outlives_the_session() {
    let server = start().await;
    let (mut ada, tokens) = signed_in(&server, "openid offline_access").await;
    let hint = member(&tokens, "id_token");
    let page = ada.get(&end_session(&[("id_token_hint", &hint)])).await;
    assert!(is_page(&page, "logged-out"), "{}", page.body);
    let again = refresh(&server, "app", &member(&tokens, "refresh_token")).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert!(is_active(&server, &member(&again, "access_token")).await);
    server.stop().await;
}

#[actix_web::test]
async fn without_an_id_token_the_person_is_asked() {
    let server = start().await;
    for asked in [&[][..], &[("client_id", "app"), ("post_logout_redirect_uri", DONE)]] {
        let (mut ada, _) = signed_in(&server, "openid").await;
        let page = ada.get(&end_session(asked)).await;
        assert!(is_page(&page, "log-out-form"), "{}", page.body);
        assert_eq!(outcome(&mut ada, &[("prompt", "none")]).await, "code");
        let cross = [("sec-fetch-site", "cross-site")];
        let (flow, csrf) = (page.field("flow"), page.field("csrf"));
        let form = [("flow", flow.as_str()), ("csrf", csrf.as_str())];
        let refused = ada.send(reqwest::Method::POST, "/logout", Some(&form), &cross).await;
        assert_eq!(refused.status, 403);
        assert_eq!(outcome(&mut ada, &[("prompt", "none")]).await, "code");
        let done = submit(&mut ada, &page, "/logout", &[]).await;
        // The address is registered but the client unproven: offered, not gone to.
        assert!(is_page(&done, "logged-out"), "{}", done.body);
        assert_eq!(done.body.contains(DONE), !asked.is_empty());
        assert_eq!(outcome(&mut ada, &[("prompt", "none")]).await, "login_required");
    }
    server.stop().await;
}

#[actix_web::test]
async fn an_altered_id_token_asks_and_never_redirects() {
    let server = start().await;
    for extra in [&[][..], &[("client_id", "app")]] {
        let (mut ada, tokens) = signed_in(&server, "openid").await;
        let mut hint = member(&tokens, "id_token");
        hint.replace_range(20..21, if &hint[20..21] == "A" { "B" } else { "A" });
        let mut asked = vec![("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", DONE)];
        asked.extend(extra);
        let page = ada.get(&end_session(&asked)).await;
        assert!(is_page(&page, "log-out-form"), "{}", page.body);
        let done = submit(&mut ada, &page, "/logout", &[]).await;
        assert!(is_page(&done, "logged-out"), "{}", done.body);
        assert!(!done.body.contains(DONE));
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_posted_sign_out_goes_on_with_a_get_that_has_the_cookies() {
    let server = start().await;
    let (mut ada, tokens) = signed_in(&server, "openid").await;
    let hint = member(&tokens, "id_token");
    let form = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", DONE)];
    let cross = [("sec-fetch-site", "cross-site")];
    let mut without_cookies = server.browser();
    let page = without_cookies
        .send(reqwest::Method::POST, "/oauth2/end_session", Some(&form), &cross)
        .await;
    let next = page.location().to_owned();
    assert!(next.starts_with("https://id.example/oauth2/end_session?flow="));
    assert_eq!(ada.get(&next).await.location(), DONE);
    server.stop().await;
}

#[actix_web::test]
async fn a_sign_out_on_one_server_reaches_the_other() {
    let fleet = super::fleet_of(oidc::testing::client("app")).await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    let (mut ada, tokens) = signed_in(&a, "openid").await;
    let mut copy = ada.clone().at(b.base());
    assert_eq!(outcome(&mut copy, &[("prompt", "none")]).await, "code");
    let hint = member(&tokens, "id_token");
    ada.get(&end_session(&[("id_token_hint", &hint)])).await;
    within(Duration::from_millis(1500), "end of the session", async || {
        outcome(&mut copy, &[("prompt", "none")]).await == "login_required"
    })
    .await;
    assert!(!is_active(&b, &member(&tokens, "access_token")).await);
    a.stop().await;
    b.stop().await;
}
