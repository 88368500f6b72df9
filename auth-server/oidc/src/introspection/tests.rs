use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::config::AccessTokenFormat;
use crate::testing::{self, NOW, World, code, redeem, run};
use crate::token_revocation;

fn header(client_id: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{client_id}:{}", testing::secret_of(client_id)))
    )
}

fn ask(world: &World, caller: &str, token: &str) -> Result<Introspection, TokenError> {
    let body = format!("token={token}");
    run(respond(&world.context(), Some(&header(caller)), body.as_bytes()))
}

fn is_active(world: &World, caller: &str, token: &str) -> bool {
    ask(world, caller, token).unwrap().is_active()
}

fn world(format: AccessTokenFormat) -> World {
    let mut app = testing::client("app");
    Arc::make_mut(&mut app.tokens).format = format;
    app.audiences = ["https://orders.example".into()].into();
    let mut orders = testing::client("orders");
    orders.audiences = ["https://orders.example".into()].into();
    World::new([app, orders, testing::client("stranger"), testing::public_client("spa")])
}

#[test]
fn owner_and_audience_learn_about_an_access_token_without_a_statement_and_nobody_else_does() {
    for format in [AccessTokenFormat::Jwt, AccessTokenFormat::Opaque] {
        let world = world(format);
        let token = redeem(&world, &code()).access_token;
        world.store.take_calls();
        let answer = ask(&world, "orders", &token).unwrap();
        let members = serde_json::to_value(&answer).unwrap();
        assert_eq!(members["scope"], "openid profile orders:read");
        assert!(answer.is_active() && is_active(&world, "app", &token));
        let stranger = ask(&world, "stranger", &token).unwrap();
        assert_eq!(serde_json::to_value(stranger).unwrap(), json!({"active": false}));
        assert!(world.store.take_calls().is_empty());
    }
}

#[test]
fn only_the_owner_learns_about_a_refresh_token_and_only_the_newest_is_active() {
    let world = world(AccessTokenFormat::Jwt);
    let token = redeem(&world, &code()).refresh_token.unwrap();
    assert!(is_active(&world, "app", &token));
    assert!(!is_active(&world, "orders", &token));
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    let request = crate::token::TokenRequest {
        authorization: Some(&header("app")),
        body: body.as_bytes(),
        request: crate::id::RequestId(uuid::Uuid::nil()),
    };
    run(crate::token::respond(&world.context(), &mut testing::rng(), request)).unwrap();
    assert!(!is_active(&world, "app", &token));
}

#[test]
fn a_revoked_or_expired_token_is_inactive_at_once() {
    let mut world = world(AccessTokenFormat::Opaque);
    let tokens = redeem(&world, &code());
    let body = format!("token={}", tokens.access_token);
    run(token_revocation::respond(
        &world.context(),
        Some(&header("app")),
        body.as_bytes(),
    ))
    .unwrap();
    assert!(!is_active(&world, "app", &tokens.access_token));
    assert!(is_active(&world, "app", tokens.refresh_token.as_deref().unwrap()));
    world.advance(testing::lifetimes().refresh_idle);
    assert!(!is_active(&world, "app", &tokens.refresh_token.unwrap()));
}

#[test]
fn public_and_unauthenticated_callers_are_refused() {
    let world = world(AccessTokenFormat::Jwt);
    let body = b"client_id=spa&token=x";
    assert_eq!(
        run(respond(&world.context(), None, body)).unwrap_err().code(),
        "invalid_client"
    );
    assert_eq!(
        run(respond(&world.context(), None, b"token=x")).unwrap_err().code(),
        "invalid_client"
    );
    assert_eq!(
        run(respond(&world.context(), Some(&header("app")), b""))
            .unwrap_err()
            .code(),
        "invalid_request"
    );
}

#[test]
fn nothing_is_said_when_revocations_are_not_known_well_enough() {
    let mut world = world(AccessTokenFormat::Jwt);
    let token = redeem(&world, &code()).access_token;
    world.now = NOW.after(Duration::from_secs(61));
    assert!(matches!(ask(&world, "app", &token), Err(TokenError::Stale)));
}
