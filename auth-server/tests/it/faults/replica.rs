//! Two servers share what matters: one may stop at any moment.

use std::time::Duration;

use oidc::testing;

use crate::attack::is_active;
use crate::database;
use crate::flow::{authorize, code, exchange, member, post_as, refresh, sign_in};
use crate::server::{ADA, TestFleet, within};

async fn fleet() -> TestFleet {
    TestFleet::new(database::postgres().await, [testing::client("app")]).await
}

#[actix_web::test]
async fn a_sign_in_begun_on_a_server_that_stops_continues_on_another() {
    let fleet = fleet().await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    let mut ada = a.browser();
    let form = ada.get(&authorize("app", "openid", &[])).await;
    a.stop().await;
    let mut ada = ada.at(b.base());
    let entered = sign_in(&mut ada, &form, ADA.0, ADA.1).await;
    let next = entered.location().to_owned();

    let c = fleet.start().await;
    b.stop().await;
    let mut ada = ada.at(c.base());
    let code = ada.get(&next).await.location_parameter("code").unwrap();

    let d = fleet.start().await;
    c.stop().await;
    let tokens = exchange(&d, "app", &code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let again = refresh(&d, "app", &member(&tokens, "refresh_token")).await;
    assert_eq!(again.status, 200);
    d.stop().await;
}

#[actix_web::test]
async fn a_revocation_reaches_the_other_server_in_time() {
    let fleet = fleet().await;
    let (a, b) = (fleet.start().await, fleet.start().await);
    for _ in 0..3 {
        let code = code(&a, "app", "openid").await;
        let access = member(&exchange(&a, "app", &code).await, "access_token");
        assert!(is_active(&b, &access).await);
        let page = post_as(&a, "app", "/oauth2/revoke", &[("token", &access)]).await;
        assert_eq!(page.status, 200);
        assert!(!is_active(&a, &access).await);
        within(Duration::from_millis(1500), "spread", async || {
            !is_active(&b, &access).await
        })
        .await;
    }
    a.stop().await;
    b.stop().await;
}
