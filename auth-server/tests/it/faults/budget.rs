//! What each flow costs where noise cannot reach: statements, signatures and password hashes, as the server itself counts
//! them.

use oidc::testing;

use crate::attack::{is_active, userinfo};
use crate::browser::Browser;
use crate::database;
use crate::flow::{authorize, code, exchange, member, post_as, refresh, sign_in};
use crate::server::{ADA, Server, TestFleet};

/// What is counted: the metric, and the word for it.
const COUNTED: [(&str, &str); 3] = [
    ("nauthera_database_statements", "statements"),
    ("nauthera_signatures", "signatures"),
    ("nauthera_password_hashes", "hashes"),
];

/// What one run of `flow` costs. The feed reads beside it, so the smallest of a few counts is the flow's own.
async fn costs(server: &Server, mut flow: impl AsyncFnMut()) -> String {
    let mut fewest = [i64::MAX; COUNTED.len()];
    for _ in 0..5 {
        let before = count(server).await;
        flow().await;
        let after = count(server).await;
        for (fewest, (before, after)) in fewest.iter_mut().zip(before.into_iter().zip(after)) {
            *fewest = (*fewest).min(after - before);
        }
    }
    let costs = fewest.iter().zip(COUNTED);
    let costs: Vec<String> = costs.map(|(count, (_, word))| format!("{count} {word}")).collect();
    costs.join(", ")
}

#[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
async fn count(server: &Server) -> [i64; COUNTED.len()] {
    let mut counts = [0; COUNTED.len()];
    for (count, (metric, _)) in counts.iter_mut().zip(COUNTED) {
        *count = server.metric(metric).await as i64;
    }
    counts
}

#[actix_web::test]
async fn each_flow_keeps_to_its_statements_signatures_and_hashes() {
    let fleet = TestFleet::new(database::postgres().await, [testing::client("app")]).await;
    let server = fleet.start().await;
    let signed_in = code(&server, "app", "openid").await;
    let tokens = exchange(&server, "app", &signed_in).await;
    let access = member(&tokens, "access_token");
    let mut lines = Vec::new();

    let sent = costs(&server, async || {
        server.browser().get("/oauth2/jwks").await;
        server.browser().get("/.well-known/openid-configuration").await;
    });
    lines.push(format!("discovery and JWKS: {}", sent.await));
    let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
    let sent = costs(&server, async || {
        assert_eq!(post_as(&server, "app", "/oauth2/token", &form).await.status, 200);
    });
    lines.push(format!("client credentials: {}", sent.await));
    let sent = costs(&server, async || assert!(is_active(&server, &access).await));
    lines.push(format!("introspection of a JWT: {}", sent.await));
    let sent = costs(&server, async || {
        assert_eq!(userinfo(&server, &access).await.status, 200);
    });
    lines.push(format!("userinfo of a remembered person: {}", sent.await));
    let mut token = member(&tokens, "refresh_token");
    let sent = costs(&server, async || {
        token = member(&refresh(&server, "app", &token).await, "refresh_token");
    });
    lines.push(format!("refresh: {}", sent.await));
    let sent = costs(&server, async || sign_in_anew(&server).await);
    lines.push(format!("sign-in with a password: {}", sent.await));

    let mut ada = server.browser();
    crate::flow::sign_in_at(&mut ada, &authorize("app", "openid", &[])).await;
    let sent = costs(&server, async || {
        let code = sign_on(&mut ada).await;
        assert_eq!(exchange(&server, "app", &code).await.status, 200);
    });
    lines.push(format!("code flow with a live session: {}", sent.await));
    insta::assert_snapshot!(lines.join("\n"), @r"
    discovery and JWKS: 0 statements, 0 signatures, 0 hashes
    client credentials: 0 statements, 1 signatures, 0 hashes
    introspection of a JWT: 0 statements, 0 signatures, 0 hashes
    userinfo of a remembered person: 0 statements, 0 signatures, 0 hashes
    refresh: 1 statements, 2 signatures, 0 hashes
    sign-in with a password: 2 statements, 0 signatures, 1 hashes
    code flow with a live session: 1 statements, 2 signatures, 0 hashes
    ");
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
