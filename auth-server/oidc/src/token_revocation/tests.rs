use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::testing::{self, World, code, redeem, run};

fn revoke(world: &World, caller: &str, token: &str) -> Result<(), TokenError> {
    let header = format!(
        "Basic {}",
        STANDARD.encode(format!("{caller}:{}", testing::secret_of(caller)))
    );
    let body = format!("token={token}&token_type_hint=nonsense");
    run(respond(&world.context(), Some(&header), body.as_bytes()))
}

fn world() -> World {
    World::new([testing::client("app"), testing::client("other")])
}

fn is_live(world: &World, token: &str) -> bool {
    AccessToken::decode(&world.context(), token)
        .unwrap()
        .is_live(&world.context())
}

#[test]
fn revoking_an_access_token_ends_that_token_on_this_replica_at_once() {
    let world = world();
    let token = redeem(&world, &code()).access_token;
    world.store.take_calls();
    revoke(&world, "app", &token).unwrap();
    assert_eq!(world.store.take_calls(), ["revoke"]);
    assert!(!is_live(&world, &token));
}

#[test]
fn revoking_a_refresh_token_ends_its_family_with_the_access_tokens() {
    let world = world();
    let tokens = redeem(&world, &code());
    let refresh = tokens.refresh_token.unwrap();
    revoke(&world, "app", &refresh).unwrap();
    let family = RefreshToken::open(&world.context(), &refresh).unwrap().family;
    assert!(world.store.has_ended(Revoked::Family(family)));
    assert!(!is_live(&world, &tokens.access_token));
}

#[test]
fn another_client_s_token_is_not_revoked() {
    let world = world();
    let tokens = redeem(&world, &code());
    for token in [&tokens.access_token, tokens.refresh_token.as_ref().unwrap()] {
        assert_eq!(revoke(&world, "other", token).unwrap_err().code(), "invalid_grant");
    }
    assert!(is_live(&world, &tokens.access_token));
}

#[test]
fn an_unknown_or_expired_token_is_already_as_good_as_revoked() {
    let mut world = world();
    let token = redeem(&world, &code()).access_token;
    world.advance(testing::lifetimes().access);
    world.store.take_calls();
    for token in [token.as_str(), "unknown", "a.b.c"] {
        revoke(&world, "app", token).unwrap();
    }
    assert!(world.store.take_calls().is_empty());
}

#[test]
fn a_revocation_that_is_not_recorded_is_no_success() {
    let world = world();
    let token = redeem(&world, &code()).access_token;
    world.store.set_down(true);
    assert_eq!(
        revoke(&world, "app", &token).unwrap_err().code(),
        "temporarily_unavailable"
    );
}
