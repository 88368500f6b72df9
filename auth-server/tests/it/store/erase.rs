//! What is left of a realm that is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use auth_server::store::Erased;
use oidc::id::{FlowId, RealmId, TokenId};
use oidc::revocation::{Revocation, Revoked};
use oidc::store::AttemptOutcome;
use tokio_postgres::NoTls;
use uuid::Uuid;

use super::world::{CLIENT, HOUR, Rotated, World};
use crate::database;

/// Rows in every table, of `count` people.
async fn fill(world: &World<'_>, count: usize) {
    let end = world.now.after(HOUR);
    let (database, scopes) = (&world.database, ["openid".to_owned()]);
    for number in 0..count {
        let who = world.signed_in(&format!("{}-{number}", "x".repeat(number))).await;
        world.family(who, true).await;
        world.attempt(&format!("nobody-{number}")).await;
        let consent = database.remember_consent(world.realm, who.person, CLIENT, &scopes, world.now);
        consent.await.unwrap();
        let jti = number.to_string();
        assert!(database.use_once(world.realm, "a", &jti, end).await.unwrap());
        let kept = FlowId(Uuid::new_v4());
        database.keep_request(world.realm, kept, b"q", end).await.unwrap();
        let revoked = Revocation {
            what: Revoked::Token(TokenId(Uuid::new_v4())),
            expires_at: end,
        };
        database.revoke(world.realm, &[revoked], world.now).await.unwrap();
    }
}

fn neighbour<'a>(world: &World<'a>) -> World<'a> {
    World {
        realm: RealmId(Uuid::new_v4()),
        database: world.database.clone(),
        ..*world
    }
}

async fn erase(world: &World<'_>, at_most: u32) -> Erased {
    world.database.erase(world.realm, at_most).await.unwrap()
}

fn total(erased: &Erased) -> u64 {
    erased.rows.values().sum()
}

pub(super) async fn a_realm_is_erased_to_its_last_row_and_its_neighbour_keeps_everything(home: World<'_>) {
    let away = neighbour(&home);
    fill(&home, 2).await;
    fill(&away, 2).await;
    let erased = erase(&home, 1000).await;
    let everywhere = [
        ("consent", 2),
        ("grant_", 2),
        ("kept_request", 2),
        ("login_attempt", 2),
        ("login_step", 2),
        ("person", 2),
        ("refresh_family", 2),
        ("revocation", 2),
        ("session", 2),
        ("session_client", 2),
        ("spent_code", 2),
        ("use_once", 2),
    ];
    assert_eq!(erased.rows, BTreeMap::from(everywhere));
    assert!(erased.is_complete);
    // Again: nothing is left, and nothing goes wrong.
    let again = erase(&home, 1000).await;
    assert_eq!((again.rows.len(), again.is_complete), (0, true));
    assert_eq!(erase(&away, 1000).await.rows, BTreeMap::from(everywhere));
}

pub(super) async fn an_erased_realm_begins_empty(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let (family, _) = world.family(who, true).await;
    erase(&world, 1000).await;
    assert!(matches!(world.attempt("ada").await, AttemptOutcome::Counted(None)));
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::NotAuthorized);
    let again = world.signed_in("ada").await;
    assert_ne!(again.person, who.person);
    let consented = world.database.consented_scopes(world.realm, again.person, CLIENT).await;
    assert!(consented.unwrap().is_empty());
}

pub(super) async fn a_realm_is_erased_in_batches_of_which_people_are_the_last(world: World<'_>) {
    fill(&world, 3).await;
    let people = async || world.database.people(world.realm, None, 10).await.unwrap().len();
    for _ in 0..6 {
        assert_eq!((people().await, total(&erase(&world, 5).await)), (3, 5));
    }
    let batch = erase(&world, 5).await;
    assert_eq!(batch.rows, BTreeMap::from([("person", 3), ("revocation", 2)]));
    assert!(!batch.is_complete);
    let last = erase(&world, 5).await;
    assert_eq!(last.rows, BTreeMap::from([("revocation", 1)]));
    assert!(last.is_complete);
}

pub(super) async fn use_of_a_realm_is_noticed_and_its_neighbours_is_not(home: World<'_>) {
    let away = neighbour(&home);
    let used = async |world: &World<'_>, since| world.database.is_used_since(world.realm, since).await.unwrap();
    let (before, after) = (home.now.before(HOUR), home.now.after(HOUR));
    assert!(!used(&home, before).await);
    home.person("ada").await;
    assert!(!used(&home, before).await, "nobody signed in");
    let who = home.signed_in("grace").await;
    assert!(used(&home, before).await);
    assert!(!used(&home, home.now).await && !used(&away, before).await);
    let (family, _) = home.family(who, true).await;
    let mut rotation = home.rotation_of(family, 0);
    rotation.now = after.after(Duration::from_secs(1));
    assert_eq!(home.rotate(rotation).await, Rotated::To(1));
    assert!(used(&home, after).await, "a token was refreshed");
}

#[tokio::test]
async fn nothing_is_erased_while_another_replica_deletes() {
    let made = database::postgres().await;
    let world = World::new(&made);
    fill(&world, 1).await;
    let (other, connection) = tokio_postgres::connect(&made.url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    other
        .batch_execute("begin; select pg_advisory_xact_lock(7310027104)")
        .await
        .unwrap();
    assert_eq!(erase(&world, 1000).await, Erased::default());
    other.batch_execute("commit").await.unwrap();
    let erased = erase(&world, 1000).await;
    assert_eq!((total(&erased), erased.is_complete), (12, true));
    drop(other);
    driver.await.unwrap().unwrap();
}
