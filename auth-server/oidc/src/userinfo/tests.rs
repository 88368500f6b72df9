use std::time::Duration;

use serde_json::json;

use super::*;
use crate::code::AuthorizationCode;
use crate::person::PersonState;
use crate::revocation::{Revocation, Revoked};
use crate::testing::{self, ISSUER, NOW, World, code, redeem, run};

fn ask(world: &World, authorization: Option<&str>, form: Option<&[u8]>) -> Result<Userinfo, UserinfoError> {
    run(respond(&world.context(), UserinfoRequest { authorization, form }))
}

fn with_token(world: &World, token: &str) -> Result<Userinfo, UserinfoError> {
    ask(world, Some(&format!("Bearer {token}")), None)
}

fn access_token(world: &World, scope: &str) -> String {
    let scopes = scope.split(' ').map(str::to_owned).collect();
    redeem(world, &AuthorizationCode { scopes, ..code() }).access_token
}

#[test]
fn claims_follow_the_scopes_with_one_statement() {
    let world = World::new([testing::client("app")]);
    let token = access_token(&world, "openid email address");
    world.store.take_calls();
    let answer = with_token(&world, &token).unwrap();
    assert_eq!(world.store.take_calls(), ["person"]);
    let expected = json!({
        "sub": testing::person().id, "email": "ada@example.com", "email_verified": true,
        "address": {"locality": "London", "country": "GB"},
    });
    assert_eq!(Value::Object(answer.claims), expected);
    assert_eq!(answer.client_id, "app");
}

#[test]
fn a_token_may_come_in_a_form_but_not_twice() {
    let world = World::new([testing::client("app")]);
    let token = access_token(&world, "openid");
    let form = format!("access_token={token}");
    assert!(ask(&world, None, Some(form.as_bytes())).is_ok());
    let both = ask(&world, Some(&format!("bearer {token}")), Some(form.as_bytes())).unwrap_err();
    assert_eq!(both.code(), Some("invalid_request"));
}

#[test]
fn refusals_have_the_codes_and_challenges_of_rfc_6750() {
    let world = World::new([testing::client("app")]);
    let none = ask(&world, None, None).unwrap_err();
    assert_eq!(none.challenge(ISSUER).unwrap(), r#"Bearer realm="https://id.example""#);
    assert_eq!(none.code(), None);
    for garbage in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(
            with_token(&world, garbage).unwrap_err().code(),
            Some("invalid_token"),
            "{garbage}"
        );
    }
    let scope = with_token(&world, &access_token(&world, "profile")).unwrap_err();
    assert_eq!(scope.code(), Some("insufficient_scope"));
    assert!(scope.challenge(ISSUER).unwrap().ends_with(r#", scope="openid""#));
    assert_eq!(
        ask(&world, Some("Basic eDp5"), None).unwrap_err().code(),
        Some("invalid_request")
    );
}

#[test]
fn an_expired_token_is_refused() {
    let mut world = World::new([testing::client("app")]);
    let token = access_token(&world, "openid");
    world.advance(testing::lifetimes().access);
    assert_eq!(with_token(&world, &token).unwrap_err().code(), Some("invalid_token"));
}

#[test]
fn a_token_ends_with_its_session_its_grant_and_its_person() {
    let session = Revoked::Session(code().session);
    let person = Revoked::Person {
        person: code().person,
        epoch: 2,
    };
    for what in [session, Revoked::Grant(code().grant), person] {
        let world = World::new([testing::client("app")]);
        let token = access_token(&world, "openid");
        let expires_at = NOW.after(Duration::from_hours(1));
        world.revocations.record([Revocation { what, expires_at }]);
        assert_eq!(
            with_token(&world, &token).unwrap_err().code(),
            Some("invalid_token"),
            "{what:?}"
        );
    }
    let world = World::new([testing::client("app")]);
    let token = access_token(&world, "openid");
    world
        .store
        .change(code().person, |person| person.state = PersonState::Disabled);
    assert_eq!(with_token(&world, &token).unwrap_err().code(), Some("invalid_token"));
}

#[test]
fn a_token_of_another_realm_is_refused() {
    let realm = testing::realm_of("https://other.example");
    let other = World::of(testing::served_realm(realm, [testing::client("app")]));
    let token = access_token(&other, "openid");
    assert!(with_token(&other, &token).is_ok());
    assert!(with_token(&World::new([testing::client("app")]), &token).is_err());
}

#[test]
fn nothing_is_said_when_revocations_are_not_known_well_enough() {
    let mut world = World::new([testing::client("app")]);
    let token = access_token(&world, "openid");
    world.now = NOW.after(Duration::from_mins(1));
    assert!(with_token(&world, &token).is_ok());
    world.now = NOW.after(Duration::from_secs(61));
    assert!(matches!(with_token(&world, &token), Err(UserinfoError::Stale)));
}

#[test]
fn the_claims_parameter_releases_nothing_beyond_the_scopes_of_the_client() {
    let asked = crate::claims::ClaimsRequest::parse(r#"{"userinfo":{"email":null,"address":null,"groups":null}}"#);
    let token = |world: &World| {
        let scopes = vec!["openid".to_owned()];
        let claims = asked.clone().unwrap();
        redeem(
            world,
            &AuthorizationCode {
                scopes,
                claims,
                ..code()
            },
        )
        .access_token
    };
    let world = World::new([crate::config::Client {
        scopes: ["openid".into(), "email".into()].into(),
        ..testing::client("app")
    }]);
    let answer = with_token(&world, &token(&world)).unwrap();
    let expected = json!({"sub": testing::person().id, "email": "ada@example.com"});
    assert_eq!(Value::Object(answer.claims), expected);
}

#[test]
fn a_token_ends_with_its_client() {
    let world = World::new([testing::client("app")]);
    let token = access_token(&world, "openid");
    let without = World::new([testing::client("other")]);
    assert!(with_token(&world, &token).is_ok());
    assert_eq!(with_token(&without, &token).unwrap_err().code(), Some("invalid_token"));
}

#[test]
fn requests_never_print_credentials() {
    let userinfo = UserinfoRequest {
        authorization: Some("Bearer hunter2"),
        form: Some(b"access_token=hunter2"),
    };
    let token = crate::token::TokenRequest {
        authorization: Some("Basic hunter2"),
        body: b"hunter2",
        request: crate::id::RequestId(uuid::Uuid::nil()),
    };
    let printed = format!("{userinfo:?} {token:?}");
    assert!(
        !printed.contains("hunter2") && !printed.contains("104, 117"),
        "{printed}"
    );
}
