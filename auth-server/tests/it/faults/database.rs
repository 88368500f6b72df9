//! Without its database a server does what needs none, for as long as it may; the rest says when to come back.

use std::time::Duration;

use oidc::testing;

use crate::attack::userinfo;
use crate::browser::{Browser, Page};
use crate::database::{self, TestDatabase, Wire};
use crate::flow::{authorize, code, exchange, member, post_as, refresh, sign_in, sign_in_at};
use crate::server::{ADA, Server, TestFleet, within};

/// How long things take to be noticed on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn fleet(database: TestDatabase) -> TestFleet {
    TestFleet::new(database, [testing::client("app")]).await
}

#[track_caller]
fn assert_put_off(page: &Page) {
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(page.header("cache-control"), "no-store");
}

async fn sign_on(browser: &mut Browser) -> Page {
    browser.get(&authorize("app", "openid", &[("prompt", "none")])).await
}

async fn introspect(server: &Server, token: &str) -> Page {
    post_as(server, "app", "/oauth2/introspect", &[("token", token)]).await
}

async fn client_credentials(server: &Server) -> Page {
    let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
    post_as(server, "app", "/oauth2/token", &form).await
}

#[actix_web::test]
async fn without_a_database_only_what_needs_it_stops_and_it_recovers() {
    let fleet = fleet(database::postgres().await).await;
    let (wire, url) = Wire::to(fleet.database_url()).await;
    let server = fleet.start_on(&url).await;
    let mut ada = server.browser();
    let page = sign_in_at(&mut ada, &authorize("app", "openid", &[])).await;
    let tokens = exchange(&server, "app", &page.location_parameter("code").unwrap()).await;
    let (access, token) = (member(&tokens, "access_token"), member(&tokens, "refresh_token"));
    let unspent = code(&server, "app", "openid").await;
    let mut stranger = server.browser();
    let form = stranger.get(&authorize("app", "openid", &[])).await;

    wire.cut();
    within(PATIENCE, "notice of the loss", async || {
        server.probe("/readyz").await.1.contains("the database does not answer")
    })
    .await;
    for path in ["/.well-known/openid-configuration", "/oauth2/jwks"] {
        assert_eq!(server.browser().get(path).await.status, 200, "{path}");
    }
    assert_eq!(client_credentials(&server).await.status, 200);
    assert_eq!(introspect(&server, &access).await.json()["active"], true);
    assert!(sign_on(&mut ada).await.location_parameter("code").is_some());
    assert_put_off(&exchange(&server, "app", &unspent).await);
    assert_put_off(&refresh(&server, "app", &token).await);
    assert_put_off(&sign_in(&mut stranger, &form, ADA.0, ADA.1).await);
    assert_eq!(server.probe("/readyz").await.0, 200, "a lost database does not unready");
    assert_eq!(server.probe("/livez").await.0, 200);

    wire.join();
    within(PATIENCE, "recovery", async || {
        refresh(&server, "app", &token).await.status == 200
    })
    .await;
    within(PATIENCE, "a good read", async || {
        !server.probe("/readyz").await.1.contains("the database does not answer")
    })
    .await;
    assert_eq!(exchange(&server, "app", &unspent).await.status, 200, "nothing was lost");
    assert_eq!(sign_in(&mut stranger, &form, ADA.0, ADA.1).await.status, 303);
    assert_eq!(userinfo(&server, &access).await.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn beyond_the_maximal_staleness_nothing_is_said_about_tokens_and_sessions() {
    let mut fleet = fleet(database::postgres().await).await;
    fleet.set_max_staleness(Duration::from_secs(4));
    let (wire, url) = Wire::to(fleet.database_url()).await;
    let server = fleet.start_on(&url).await;
    let mut ada = server.browser();
    let page = sign_in_at(&mut ada, &authorize("app", "openid", &[])).await;
    let tokens = exchange(&server, "app", &page.location_parameter("code").unwrap()).await;
    let access = member(&tokens, "access_token");
    wire.cut();
    within(PATIENCE, "end of what may be said", async || {
        introspect(&server, &access).await.status != 200
    })
    .await;
    assert_put_off(&introspect(&server, &access).await);
    assert_put_off(&userinfo(&server, &access).await);
    assert_put_off(&sign_on(&mut ada).await);
    assert_eq!(client_credentials(&server).await.status, 200);
    assert_eq!(server.browser().get("/oauth2/jwks").await.status, 200);
    assert_eq!(server.probe("/readyz").await.0, 200);
    wire.join();
    within(PATIENCE, "recovery", async || {
        introspect(&server, &access).await.status == 200
    })
    .await;
    assert!(sign_on(&mut ada).await.location_parameter("code").is_some());
    server.stop().await;
}

#[actix_web::test]
async fn a_server_cut_off_learns_all_that_it_missed() {
    let fleet = fleet(database::postgres().await).await;
    let (wire, url) = Wire::to(fleet.database_url()).await;
    let (near, far) = (fleet.start().await, fleet.start_on(&url).await);
    let mut issued = Vec::new();
    for _ in 0..4 {
        let code = code(&near, "app", "openid").await;
        let tokens = exchange(&near, "app", &code).await;
        issued.push((member(&tokens, "access_token"), member(&tokens, "refresh_token")));
    }
    let (kept, _) = issued.pop().unwrap();
    wire.cut();
    within(PATIENCE, "notice of the loss", async || {
        far.probe("/readyz").await.1.contains("the database does not answer")
    })
    .await;
    for (_, token) in &issued {
        let page = post_as(&near, "app", "/oauth2/revoke", &[("token", token)]).await;
        assert_eq!(page.status, 200);
    }
    for (access, _) in &issued {
        assert_eq!(introspect(&near, access).await.json()["active"], false);
        assert_eq!(
            introspect(&far, access).await.json()["active"],
            true,
            "within its staleness"
        );
    }
    wire.join();
    for (access, _) in &issued {
        within(PATIENCE, "knowledge of what was missed", async || {
            introspect(&far, access).await.json()["active"] == false
        })
        .await;
    }
    assert_eq!(introspect(&far, &kept).await.json()["active"], true);
    near.stop().await;
    far.stop().await;
}

#[actix_web::test]
async fn a_server_that_starts_without_its_database_waits_for_it() {
    let fleet = fleet(database::postgres().await).await;
    let (wire, url) = Wire::to(fleet.database_url()).await;
    wire.cut();
    let starting = fleet.start_on(&url);
    let joining = async {
        // It is refused at least once before the wire is whole.
        within(PATIENCE, "an attempt", async || wire.refused() > 0).await;
        wire.join();
    };
    let (server, ()) = futures::join!(starting, joining);
    assert_eq!(server.probe("/readyz").await.0, 200);
    server.stop().await;
}

#[actix_web::test]
async fn a_schema_of_another_version_is_refused_by_name() {
    for (empty, what) in [
        (database::empty_postgres().await, "PostgreSQL"),
        (database::empty_sqlite(), "SQLite"),
    ] {
        let fleet = fleet(database::sqlite().await).await;
        let Err(error) = fleet.try_start_on(&empty.url).await else {
            panic!("{what} without schema was served");
        };
        assert_eq!(
            error.to_string(),
            "database schema is at version 0, this server needs version 1 or newer: run `nauthera-auth migrate`"
        );
    }
}
