//! Revocations reach every replica.

use std::sync::Arc;
use std::time::Duration;

use auth_server::store::Database;
use auth_server::store::feed::Feed;
use auth_server::store::people::PersonChange;
use oidc::id::{FamilyId, SessionId};
use oidc::revocation::{Revocation, Revocations, Revoked};
use uuid::Uuid;

use super::world::{HOUR, World, within};
use crate::database::{self, Wire};

/// A replica that follows the database.
struct Follower {
    revocations: Arc<Revocations>,
    feed: Feed,
    _database: Arc<dyn Database>,
}

impl Follower {
    async fn of(database: Arc<dyn Database>) -> Self {
        let revocations = Arc::new(Revocations::default());
        let feed = Feed::start(database.clone(), revocations.clone());
        let follower = Self {
            revocations,
            feed,
            _database: database,
        };
        within(Duration::from_secs(10), "first read", async || {
            follower.feed.status().is_complete()
        })
        .await;
        follower
    }

    fn knows(&self, what: Revoked) -> bool {
        self.revocations.any_revoked([what])
    }

    async fn learns(&self, what: Revoked, limit: Duration) -> Duration {
        within(limit, "revocation", async || self.knows(what)).await
    }
}

fn a_session() -> Revoked {
    Revoked::Session(SessionId(Uuid::new_v4()))
}

async fn revoke(world: &World<'_>, what: Revoked) {
    let revocation = Revocation {
        what,
        expires_at: world.now.after(HOUR),
    };
    world
        .database
        .revoke(world.realm, &[revocation], world.now)
        .await
        .unwrap();
}

pub(super) async fn a_revocation_reaches_another_replica_in_time(world: World<'_>) {
    let follower = Follower::of(world.made.replica()).await;
    for _ in 0..3 {
        let what = a_session();
        assert!(!follower.knows(what));
        revoke(&world, what).await;
        follower.learns(what, Duration::from_secs(1)).await;
    }
    // A replayed refresh token is recorded by the statement that notices it.
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    world.rotate(world.rotation_of(family, 5)).await;
    world.rotate(world.rotation_of(family, 1)).await;
    follower.learns(Revoked::Family(family), Duration::from_secs(1)).await;
}

pub(super) async fn a_change_of_a_person_reaches_another_replica(world: World<'_>) {
    let follower = Follower::of(world.made.replica()).await;
    let person = world.person("ada").await;
    let under = |epoch| Revoked::Person { person, epoch };
    let hash = oidc::Secret::new("$argon2id$second".to_owned());
    world
        .database
        .change_person(world.realm, "ada", PersonChange::Password(&hash), world.now)
        .await
        .unwrap();
    follower.learns(under(1), Duration::from_secs(1)).await;
    assert!(!follower.knows(under(2)));
    world
        .database
        .change_person(world.realm, "ada", PersonChange::Delete, world.now)
        .await
        .unwrap();
    follower.learns(under(2), Duration::from_secs(1)).await;
}

pub(super) async fn a_replica_that_starts_later_knows_everything(world: World<'_>) {
    let what: Vec<Revoked> = (0..50).map(|_| Revoked::Family(FamilyId(Uuid::new_v4()))).collect();
    for what in &what {
        revoke(&world, *what).await;
    }
    let follower = Follower::of(world.made.replica()).await;
    assert!(what.into_iter().all(|what| follower.knows(what)));
    assert_eq!(follower.feed.status().full_reads(), 1);
}

pub(super) async fn the_feed_reports_completeness(world: World<'_>) {
    let follower = Follower::of(world.made.replica()).await;
    let status = follower.feed.status();
    assert!(status.clock_agrees());
    let first = status.last_good_read().unwrap();
    within(Duration::from_secs(5), "another read", async || {
        status.last_good_read().unwrap() > first
    })
    .await;
    let staleness = follower.revocations.staleness(status.last_good_read().unwrap());
    assert_eq!(staleness, Some(Duration::ZERO));
    assert_eq!((status.failures(), status.last_failure()), (0, None));
}

#[tokio::test]
async fn a_revocation_that_commits_late_reaches_the_other_replica() {
    let made = database::postgres().await;
    let world = World::new(&made);
    let follower = Follower::of(made.replica()).await;
    let (mut client, connection) = tokio_postgres::connect(&made.url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let late = SessionId(Uuid::new_v4());
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute(
            "insert into revocation (realm, kind, id, epoch, recorded_at, expires_at)
             values ($1, 0, $2, 0, (extract(epoch from clock_timestamp()) * 1000)::bigint, $3)",
            &[&world.realm.0, &late.0, &world.now.after(HOUR).unix_millis()],
        )
        .await
        .unwrap();
    // Others commit meanwhile, and the feed moves on beyond the moment that was recorded.
    let recorded = std::time::Instant::now();
    while recorded.elapsed() < Duration::from_secs(4) {
        let other = a_session();
        revoke(&world, other).await;
        follower.learns(other, Duration::from_secs(2)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!follower.knows(Revoked::Session(late)));
    assert_eq!(follower.feed.status().full_reads(), 1);
    transaction.commit().await.unwrap();
    follower
        .learns(Revoked::Session(late), Duration::from_millis(1500))
        .await;
    assert_eq!(follower.feed.status().full_reads(), 1, "found by the overlap");
    drop(client);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn after_an_outage_everything_is_caught_up() {
    let made = database::postgres().await;
    let world = World::new(&made);
    let (wire, url) = Wire::to(&made.url).await;
    let follower = Follower::of(database::open(&url)).await;
    let status = follower.feed.status();
    wire.cut();
    within(Duration::from_secs(5), "the outage is noticed", async || {
        status.last_failure().is_some()
    })
    .await;
    let good = status.last_good_read().unwrap();
    let missed: Vec<Revoked> = (0..20).map(|_| a_session()).collect();
    for what in &missed {
        revoke(&world, *what).await;
    }
    // As if the outage had been longer than the overlap.
    let long_ago = "update revocation set recorded_at = recorded_at - 3600000";
    database::as_superuser(&made.url.parse().unwrap(), long_ago).await;
    assert_eq!(
        status.last_good_read().unwrap(),
        good,
        "no good read without the database"
    );
    assert!(!follower.knows(missed[0]));
    wire.join();
    within(Duration::from_secs(5), "caught up", async || {
        missed.iter().all(|what| follower.knows(*what))
    })
    .await;
    assert_eq!(status.last_failure(), None);
    assert!(status.last_good_read().unwrap() > good);
}

#[tokio::test]
async fn without_notifications_a_revocation_arrives_within_a_second_and_a_half() {
    let made = database::postgres().await;
    let world = World::new(&made);
    let follower = Follower::of(made.replica()).await;
    // The same row without `pg_notify`, as behind a pooler that does not forward it.
    let silent = SessionId(Uuid::new_v4());
    let statement = format!(
        "insert into revocation (realm, kind, id, epoch, recorded_at, expires_at)
         values ('{}', 0, '{silent}', 0, (extract(epoch from clock_timestamp()) * 1000)::bigint, {})",
        world.realm,
        world.now.after(HOUR).unix_millis()
    );
    database::as_superuser(&made.url.parse().unwrap(), &statement).await;
    follower
        .learns(Revoked::Session(silent), Duration::from_millis(1500))
        .await;
}
