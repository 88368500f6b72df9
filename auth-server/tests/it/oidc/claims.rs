//! What ID tokens and userinfo say, and to whom.

use oidc::testing;
use serde_json::json;

use super::{claims_of, signed_in, start};
use crate::attack::userinfo;
use crate::flow::{authorize, exchange, member, sign_in_at};
use crate::server::Server;

async fn userinfo_for(server: &Server, scope: &str) -> serde_json::Value {
    let (_, tokens) = signed_in(server, scope).await;
    let page = userinfo(server, &member(&tokens, "access_token")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let mut claims = page.json();
    assert_eq!(claims["sub"], claims_of(&member(&tokens, "id_token"))["sub"]);
    let members = claims.as_object_mut().unwrap();
    members.remove("sub");
    members.remove("updated_at");
    claims
}

#[actix_web::test]
async fn each_scope_releases_its_claims_and_no_other() {
    let server = start().await;
    assert_eq!(userinfo_for(&server, "openid").await, json!({}));
    assert_eq!(
        userinfo_for(&server, "openid profile").await,
        json!({"name": "Ada Lovelace", "given_name": "Ada", "preferred_username": "ada"})
    );
    assert_eq!(
        userinfo_for(&server, "openid email").await,
        json!({"email": "ada@example.com", "email_verified": true})
    );
    assert_eq!(
        userinfo_for(&server, "openid phone").await,
        json!({"phone_number": "+441234567890", "phone_number_verified": false})
    );
    assert_eq!(
        userinfo_for(&server, "openid address").await,
        json!({"address": {"country": "United Kingdom"}})
    );
    server.stop().await;
}

#[actix_web::test]
async fn userinfo_wants_an_access_token_with_openid_in_one_place() {
    let server = start().await;
    let page = server.browser().get("/oauth2/userinfo").await;
    assert_eq!((page.status, page.body.as_str()), (401, ""));
    assert_eq!(page.header("www-authenticate"), "Bearer realm=\"https://id.example\"");

    let (_, tokens) = signed_in(&server, "orders:read").await;
    let page = userinfo(&server, &member(&tokens, "access_token")).await;
    assert_eq!(page.status, 403);
    assert!(page.header("www-authenticate").contains("insufficient_scope"));

    let (_, tokens) = signed_in(&server, "openid").await;
    let access = member(&tokens, "access_token");
    let in_query = server
        .browser()
        .get(&format!("/oauth2/userinfo?access_token={access}"))
        .await;
    assert_eq!(in_query.status, 401);
    let form = [("access_token", access.as_str())];
    assert_eq!(server.browser().post("/oauth2/userinfo", &form).await.status, 200);
    let bearer = format!("Bearer {access}");
    let headers = [("authorization", bearer.as_str())];
    let mut browser = server.browser();
    let twice = browser
        .send(reqwest::Method::POST, "/oauth2/userinfo", Some(&form), &headers)
        .await;
    assert_eq!(twice.status, 400);
    server.stop().await;
}

#[actix_web::test]
async fn the_claims_parameter_asks_for_single_claims() {
    let server = start().await;
    let asked = json!({
        "userinfo": {"phone_number": null, "nickname": {"essential": true}},
        "id_token": {"email": {"essential": true}, "auth_time": {"essential": true}},
    });
    let more = [("claims", asked.to_string())];
    let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let page = sign_in_at(&mut server.browser(), &authorize("app", "openid", &more)).await;
    let tokens = exchange(&server, "app", &page.location_parameter("code").unwrap()).await;
    let id_token = claims_of(&member(&tokens, "id_token"));
    assert_eq!(id_token["email"], "ada@example.com");
    assert!(id_token["auth_time"].is_i64() && id_token["phone_number"].is_null());
    let page = userinfo(&server, &member(&tokens, "access_token")).await;
    assert_eq!(page.json()["phone_number"], "+441234567890");
    assert!(page.json()["email"].is_null());
    let wrong = authorize("app", "openid", &[("claims", "[not json")]);
    let page = server.browser().get(&wrong).await;
    assert_eq!(page.location_parameter("error").as_deref(), Some("invalid_request"));
    server.stop().await;
}

#[actix_web::test]
async fn an_id_token_says_who_for_whom_when_and_to_which_request() {
    let server = start().await;
    let (_, tokens) = signed_in(&server, "openid").await;
    let claims = claims_of(&member(&tokens, "id_token"));
    assert_eq!(
        (&claims["iss"], &claims["aud"], &claims["nonce"]),
        (&json!(testing::ISSUER), &json!("app"), &json!("n1"))
    );
    for name in ["exp", "iat", "auth_time"] {
        assert!(claims[name].is_i64(), "{name}: {claims}");
    }
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert!(claims["sid"].is_string() && claims["at_hash"].is_string());
    let access = claims_of(&member(&tokens, "access_token"));
    assert_eq!((&access["sub"], &access["client_id"]), (&claims["sub"], &json!("app")));
    assert!(access["email"].is_null() && access["name"].is_null());
    server.stop().await;
}

#[actix_web::test]
async fn introspection_and_revocation_are_for_those_concerned() {
    let clients = [
        testing::client("app"),
        testing::client("other"),
        testing::public_client("spa"),
    ];
    let fleet = crate::server::TestFleet::new(crate::database::postgres().await, clients).await;
    let server = fleet.start().await;
    let (_, tokens) = signed_in(&server, "openid").await;
    let access = member(&tokens, "access_token");
    let form = [("token", access.as_str())];
    let own = crate::flow::post_as(&server, "app", "/oauth2/introspect", &form).await;
    assert_eq!(
        (&own.json()["active"], &own.json()["client_id"]),
        (&json!(true), &json!("app"))
    );
    let other = crate::flow::post_as(&server, "other", "/oauth2/introspect", &form).await;
    assert_eq!(other.json(), json!({"active": false}));
    let public = [("token", access.as_str()), ("client_id", "spa")];
    let page = server.browser().post("/oauth2/introspect", &public).await;
    assert_eq!((page.status, &page.json()["error"]), (401, &json!("invalid_client")));
    let nobody = server.browser().post("/oauth2/introspect", &form).await;
    assert_eq!(
        (nobody.status, &nobody.json()["error"]),
        (401, &json!("invalid_client"))
    );

    let other = crate::flow::post_as(&server, "other", "/oauth2/revoke", &form).await;
    assert_eq!(other.json()["error"], "invalid_grant");
    assert_eq!(userinfo(&server, &access).await.status, 200);
    let page = crate::flow::post_as(&server, "app", "/oauth2/revoke", &[("token", "nothing")]).await;
    assert_eq!((page.status, page.body.as_str()), (200, ""));
    let page = crate::flow::post_as(&server, "app", "/oauth2/revoke", &form).await;
    assert_eq!(page.status, 200);
    assert_eq!(userinfo(&server, &access).await.status, 401);
    // The family lives: only the access token was given back.
    let again = crate::flow::refresh(&server, "app", &member(&tokens, "refresh_token")).await;
    assert_eq!(again.status, 200);
    server.stop().await;
}
