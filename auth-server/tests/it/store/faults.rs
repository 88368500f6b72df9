//! PostgreSQL that goes away, refuses, or is too slow.

use std::time::{Duration, Instant};

use auth_server::store::{self, DatabaseSettings};
use futures::future::join_all;
use oidc::store::StoreError;

use super::world::{Rotated, World, within};
use crate::database::{self, TestDatabase, Wire};

/// Every server process of the test's database but the one that asks.
const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";

async fn as_superuser(made: &TestDatabase, statement: &str) {
    database::as_superuser(&made.url.parse().unwrap(), statement).await;
}

#[tokio::test]
async fn a_terminated_connection_costs_no_request() {
    let made = database::postgres().await;
    let world = World::new(&made);
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    for sequence in 0..5 {
        join_all((0..10).map(|_| world.attempt("nobody"))).await;
        as_superuser(&made, TERMINATE).await;
        let rotated = world.rotate(world.rotation_of(family, sequence)).await;
        assert_eq!(rotated, Rotated::To(sequence + 1));
    }
}

#[tokio::test]
async fn a_lost_database_is_unavailable_at_once_and_comes_back() {
    let made = database::postgres().await;
    let (wire, url) = Wire::to(&made.url).await;
    let world = World {
        database: database::open(&url),
        ..World::new(&made)
    };
    let person = world.person("ada").await;
    wire.cut();
    for _ in 0..5 {
        let began = Instant::now();
        let outcomes = join_all((0..20).map(|_| world.database.person(world.realm, person))).await;
        assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Err(StoreError::Unavailable(_))))
        );
    }
    wire.join();
    within(Duration::from_secs(5), "recovery", async || {
        world.database.person(world.realm, person).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_database_that_can_only_read_is_unavailable_until_it_can_write_again() {
    let made = database::postgres().await;
    let world = World::new(&made);
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    let server = database::postgres_server();
    let name = made.url.rsplit('/').next().unwrap().to_owned();
    let read_only = format!("alter database {name} set default_transaction_read_only = on");
    database::as_superuser(&server, &read_only).await;
    as_superuser(&made, TERMINATE).await;
    let rotation = world.rotation_of(family, 0);
    let refused = world.database.rotate_refresh(world.realm, rotation).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let back = format!("alter database {name} reset default_transaction_read_only");
    database::as_superuser(&server, &back).await;
    within(Duration::from_secs(5), "recovery", async || {
        world.database.rotate_refresh(world.realm, rotation).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn connections_to_a_demoted_primary_are_all_given_up() {
    let made = database::postgres().await;
    let world = World::new(&made);
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    join_all((0..10).map(|_| world.attempt("nobody"))).await;
    let (client, connection) = tokio_postgres::connect(&made.url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    // What an existing connection hears from a server that was demoted under it.
    let demote = "create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'demoted' using errcode = '25006'; end $$;
        create trigger refuse before update on refresh_family execute function refuse()";
    client.batch_execute(demote).await.unwrap();
    let pids = async || {
        let mine = "select pid from pg_stat_activity where datname = current_database()
            and application_name = 'nauthera-auth' order by pid";
        let rows = client.query(mine, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>()
    };
    let before = pids().await;
    assert!(before.len() > 1, "{before:?}");
    let rotation = world.rotation_of(family, 0);
    let refused = world.database.rotate_refresh(world.realm, rotation).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    client
        .batch_execute("drop trigger refuse on refresh_family")
        .await
        .unwrap();
    // The old ones are noticed when their turn comes.
    within(Duration::from_secs(5), "all connections replaced", async || {
        assert_eq!(world.rotate(rotation).await, Rotated::To(1));
        let now = pids().await;
        !before.iter().any(|pid| now.contains(pid))
    })
    .await;
    drop(client);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_pool_is_unavailable_after_the_wait_limit() {
    let made = database::postgres().await;
    let world = World {
        database: store::open(&DatabaseSettings {
            pool_size: 1,
            ..DatabaseSettings::new(made.url.clone())
        })
        .unwrap(),
        ..World::new(&made)
    };
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    let (mut client, connection) = tokio_postgres::connect(&made.url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute("select 1 from refresh_family for update", &[])
        .await
        .unwrap();
    let began = Instant::now();
    let blocked = async {
        world
            .database
            .rotate_refresh(world.realm, world.rotation_of(family, 0))
            .await
    };
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let refused = world.database.people(world.realm, None, 1).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert!(began.elapsed() < Duration::from_millis(2800), "{:?}", began.elapsed());
        transaction.commit().await.unwrap();
    };
    let (blocked, ()) = tokio::join!(blocked, waiting);
    assert!(blocked.is_ok(), "{blocked:?}");
    drop(client);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_unavailable() {
    // Accepts and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/d", listener.local_addr().unwrap());
    let silent = database::open(&url);
    let began = Instant::now();
    let realm = oidc::id::RealmId(uuid::Uuid::new_v4());
    let refused = silent.people(realm, None, 1).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn no_password_of_the_database_is_printed() {
    let url = "postgres://u:hunter2@127.0.0.1:1/d";
    let settings = DatabaseSettings::new(url);
    assert!(!format!("{settings:?}").contains("hunter2"));
    let refused = database::open(url).schema_level().await.unwrap_err();
    assert!(!format!("{refused:?}").contains("hunter2"));
    let wrong = store::open(&DatabaseSettings::new("postgres://u:hunter2@h:port/d"))
        .err()
        .unwrap();
    assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
}
