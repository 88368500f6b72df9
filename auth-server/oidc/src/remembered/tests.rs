use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::config::{Client, KeySet, Realm};
use crate::revocation::Revocation;
use crate::served::ServedRealm;
use crate::testing::{self, NOW, World, code, redeem, run};
use crate::userinfo::{self, UserinfoError, UserinfoRequest};
use crate::{introspection, token_revocation};

fn world() -> World {
    World::new([testing::client("app"), testing::client("other")])
}

fn token(world: &World) -> String {
    let mut code = code();
    code.scopes = ["openid", "email"].map(str::to_owned).to_vec();
    redeem(world, &code).access_token
}

fn userinfo(world: &World, token: &str) -> Result<(), UserinfoError> {
    let authorization = format!("Bearer {token}");
    let request = UserinfoRequest {
        authorization: Some(&authorization),
        form: None,
    };
    run(userinfo::respond(&world.context(), request)).map(drop)
}

fn basic(client_id: &str) -> String {
    let credentials = format!("{client_id}:{}", testing::secret_of(client_id));
    format!("Basic {}", STANDARD.encode(credentials))
}

fn is_active(world: &World, token: &str) -> bool {
    let body = format!("token={token}");
    let caller = if world.served.client("app").is_some() {
        "app"
    } else {
        "other"
    };
    let (context, caller) = (world.context(), basic(caller));
    let answer = introspection::respond(&context, Some(&caller), body.as_bytes());
    run(answer).unwrap().is_active()
}

/// A world in which a token was used at both endpoints, and the token.
fn used() -> (World, String) {
    let world = world();
    let token = token(&world);
    userinfo(&world, &token).unwrap();
    assert!(is_active(&world, &token));
    assert_eq!((world.remembered.tokens.len(), world.remembered.people.len()), (1, 1));
    (world, token)
}

fn assert_refused(world: &World, token: &str) {
    let refused = userinfo(world, token).unwrap_err();
    assert!(matches!(refused, UserinfoError::InvalidToken), "{refused}");
    assert!(!is_active(world, token));
}

/// The realm with other rules, keys or clients.
fn changed(
    world: &World,
    realm: impl FnOnce(&mut Realm),
    keys: Option<KeySet>,
    keep: impl Fn(&Client) -> bool,
) -> Arc<ServedRealm> {
    let ServedRealm {
        realm: before, clients, ..
    } = &*world.served;
    let mut rules = Realm::clone(before);
    realm(&mut rules);
    let kept = clients.all().filter(|client| keep(client)).cloned().collect();
    let keys = keys.map_or(Arc::clone(&world.served.keys), |set| Arc::new(Keys::new(set)));
    Arc::new(ServedRealm::new(Arc::new(rules), keys, Arc::new(kept)))
}

fn record(world: &World, what: Revoked) {
    let expires_at = NOW.after(Duration::from_hours(1));
    world.revocations.record([Revocation { what, expires_at }]);
}

#[test]
fn a_token_is_verified_once_and_its_person_read_once() {
    let (world, token) = used();
    world.store.take_calls();
    userinfo(&world, &token).unwrap();
    assert!(is_active(&world, &token));
    assert!(world.store.take_calls().is_empty());
    let verified = |token: &str| {
        let calls = Cell::new(0);
        let verify = || {
            calls.set(calls.get() + 1);
            None
        };
        let keys = &world.served.keys;
        (world.remembered.verified(keys, token, verify).is_some(), calls.get())
    };
    assert_eq!(verified(&token), (true, 0));
    assert_eq!(verified("a.b.c"), (false, 1));
    assert_eq!(verified("a.b.c"), (false, 1), "what does not verify is not remembered");
}

#[test]
fn a_remembered_token_that_is_revoked_is_refused_at_once() {
    let (world, token) = used();
    let body = format!("token={token}");
    let context = world.context();
    run(token_revocation::respond(
        &context,
        Some(&basic("app")),
        body.as_bytes(),
    ))
    .unwrap();
    assert_refused(&world, &token);
    for what in [
        Revoked::Session(code().session),
        Revoked::Grant(code().grant),
        Revoked::Person {
            person: code().person,
            epoch: 2,
        },
    ] {
        let (world, token) = used();
        record(&world, what);
        assert_refused(&world, &token);
    }
}

#[test]
fn a_remembered_token_ends_with_its_time_its_client_and_the_realms_not_before() {
    let (mut world, token) = used();
    world.advance(testing::lifetimes().access);
    assert_refused(&world, &token);

    let (mut world, token) = used();
    world.served = changed(&world, |_| (), None, |client| client.client_id != "app");
    assert_refused(&world, &token);

    let (mut world, token) = used();
    let not_before = |realm: &mut Realm| realm.not_before = Some(NOW.after(Duration::from_secs(1)));
    world.served = changed(&world, not_before, None, |_| true);
    assert_refused(&world, &token);
}

#[test]
fn a_remembered_token_ends_with_the_key_that_signed_it() {
    let (mut world, token) = used();
    let mut rotated = testing::key_set(testing::ISSUER);
    rotated.signing.retain(|key| key.algorithm.name() != "ES256");
    world.served = changed(&world, |_| (), Some(rotated), |_| true);
    assert_refused(&world, &token);
    // Not a key of that name with another public half either.
    let mut swapped = testing::key_set(testing::ISSUER);
    let other = crate::key_generation::generate_signing_key(crate::config::SignatureAlgorithm::Es256).unwrap();
    for key in swapped.signing.iter_mut().filter(|key| key.algorithm.name() == "ES256") {
        key.public.clone_from(&other.public);
    }
    world.served = changed(&world, |_| (), Some(swapped), |_| true);
    assert_refused(&world, &token);
    // The same keys delivered anew: verified anew.
    let again = testing::key_set(testing::ISSUER);
    world.served = changed(&world, |_| (), Some(again), |_| true);
    assert!(is_active(&world, &token));
}

#[test]
fn a_token_remembered_for_one_realm_is_none_of_another() {
    let (mut world, token) = used();
    let realm = testing::realm_of("https://other.example");
    world.served = testing::served_realm(realm, [testing::client("app")]);
    assert_refused(&world, &token);
}

#[test]
fn a_person_is_read_again_after_a_while_and_when_the_clock_was_set_back() {
    let (mut world, token) = used();
    let reads = |world: &World, token: &str| {
        world.store.take_calls();
        userinfo(world, token).unwrap();
        world.store.take_calls().len()
    };
    world.advance(PERSON_AGE.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(reads(&world, &token), 0);
    world.advance(Duration::from_millis(1));
    assert_eq!(reads(&world, &token), 1);
    world.now = world.now.before(Duration::from_secs(1));
    assert_eq!(reads(&world, &token), 1);
}

#[test]
fn a_remembered_person_who_is_disabled_is_refused_when_the_feed_tells_or_the_age_ends() {
    let (mut world, token) = used();
    world.store.change(code().person, |person| {
        person.epoch = 2;
        person.state = PersonState::Disabled;
    });
    world.advance(PERSON_AGE);
    assert!(matches!(userinfo(&world, &token), Err(UserinfoError::InvalidToken)));
    assert_eq!(world.remembered.people.len(), 0);

    let (world, token) = used();
    record(
        &world,
        Revoked::Person {
            person: code().person,
            epoch: 2,
        },
    );
    assert_refused(&world, &token);
}

#[test]
fn a_person_of_another_epoch_is_not_the_remembered_one() {
    let (world, _) = used();
    world.store.change(code().person, |person| person.epoch = 2);
    let context = world.context();
    let of_epoch = |epoch| run(person_in_epoch(&context, code().person, epoch)).unwrap();
    assert_eq!(of_epoch(2).unwrap().epoch, 2);
    assert!(of_epoch(1).is_none() && of_epoch(3).is_none());
}

#[test]
fn a_remembered_person_answers_while_the_store_does_not() {
    let (mut world, token) = used();
    world.store.set_down(true);
    userinfo(&world, &token).unwrap();
    world.advance(PERSON_AGE);
    assert!(matches!(userinfo(&world, &token), Err(UserinfoError::Unavailable(_))));
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let world = world();
    let context = world.context();
    let genuine = AccessToken::decode(&context, &token(&world)).unwrap();
    for number in 0..40_000 {
        let verified = AccessToken::clone(&genuine);
        let name = format!("{number}.{}", "x".repeat(400));
        world.remembered.verified(&world.served.keys, &name, || Some(verified));
    }
    let weight = world.remembered.tokens.weight();
    assert!(weight <= TOKEN_BYTES && weight > TOKEN_BYTES / 2, "{weight}");
}

proptest! {
    #[test]
    fn a_token_with_one_flipped_bit_is_never_a_remembered_one(at in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let (world, token) = used();
        let mut bytes = token.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let flipped = String::from_utf8(bytes).unwrap();
        prop_assert!(AccessToken::decode(&world.context(), &flipped).is_none());
        prop_assert_eq!(world.remembered.tokens.len(), 1);
    }
}
