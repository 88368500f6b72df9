//! How many statements each flow sends to PostgreSQL, as the server itself counts them.

use oidc::testing;

use crate::attack::{is_active, userinfo};
use crate::browser::Browser;
use crate::database;
use crate::flow::{authorize, code, exchange, member, post_as, refresh, sign_in};
use crate::server::{ADA, Server, TestFleet};

/// Statements of one run of `flow`. The feed reads beside it, so the smallest of a few counts is the flow's own.
async fn statements(server: &Server, mut flow: impl AsyncFnMut()) -> i64 {
    let mut fewest = i64::MAX;
    for _ in 0..5 {
        let before = count(server).await;
        flow().await;
        fewest = fewest.min(count(server).await - before);
    }
    fewest
}

#[expect(clippy::cast_possible_truncation, reason = "a small whole number")]
async fn count(server: &Server) -> i64 {
    server.metric("nauthera_database_statements").await as i64
}

#[actix_web::test]
async fn each_flow_keeps_to_its_statements() {
    let fleet = TestFleet::new(database::postgres().await, [testing::client("app")]).await;
    let server = fleet.start().await;
    let signed_in = code(&server, "app", "openid").await;
    let tokens = exchange(&server, "app", &signed_in).await;
    let access = member(&tokens, "access_token");

    let sent = statements(&server, async || {
        server.browser().get("/oauth2/jwks").await;
        server.browser().get("/.well-known/openid-configuration").await;
    });
    assert_eq!(sent.await, 0, "discovery and JWKS");
    let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
    let sent = statements(&server, async || {
        assert_eq!(post_as(&server, "app", "/oauth2/token", &form).await.status, 200);
    });
    assert_eq!(sent.await, 0, "client credentials");
    let sent = statements(&server, async || assert!(is_active(&server, &access).await));
    assert_eq!(sent.await, 0, "introspection of a JWT");
    let sent = statements(&server, async || {
        assert_eq!(userinfo(&server, &access).await.status, 200);
    });
    assert_eq!(sent.await, 0, "userinfo of a remembered person");
    let mut token = member(&tokens, "refresh_token");
    let sent = statements(&server, async || {
        token = member(&refresh(&server, "app", &token).await, "refresh_token");
    });
    assert_eq!(sent.await, 1, "refresh");
    let sent = statements(&server, async || sign_in_anew(&server).await);
    assert_eq!(sent.await, 2, "sign-in with a password");

    let mut ada = server.browser();
    crate::flow::sign_in_at(&mut ada, &authorize("app", "openid", &[])).await;
    let sent = statements(&server, async || {
        let code = sign_on(&mut ada).await;
        assert_eq!(exchange(&server, "app", &code).await.status, 200);
    });
    assert_eq!(sent.await, 1, "code flow with a live session");
    server.stop().await;
}

async fn sign_in_anew(server: &Server) {
    let mut browser = server.browser();
    let page = browser.get(&authorize("app", "openid", &[])).await;
    assert_eq!(sign_in(&mut browser, &page, ADA.0, ADA.1).await.status, 303);
}

async fn sign_on(browser: &mut Browser) -> String {
    let page = browser.get(&authorize("app", "openid", &[])).await;
    page.location_parameter("code").unwrap()
}
