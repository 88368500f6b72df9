//! Migrations, and what is refused.

use auth_server::store::schema::{Migrated, NEWEST, SchemaError};
use auth_server::store::{check_schema, migrate};
use futures::future::join_all;

use super::world::World;
use crate::database::{self, TestDatabase};

pub(super) async fn migrating_again_changes_nothing(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let again = migrate(world.database.as_ref()).await.unwrap();
    assert_eq!(
        again,
        Migrated {
            from: NEWEST,
            to: NEWEST
        }
    );
    check_schema(world.database.as_ref()).await.unwrap();
    assert!(world.database.person(world.realm, who.person).await.unwrap().is_some());
}

pub(super) async fn a_schema_that_is_too_new_is_refused(world: World<'_>) {
    let newer = |usable_from: i32| {
        format!(
            "delete from schema_version where level > {NEWEST};
             insert into schema_version (level, usable_from) values ({}, {usable_from})",
            NEWEST + 1
        )
    };
    execute(world.made, &newer(NEWEST)).await;
    check_schema(world.database.as_ref()).await.unwrap();
    execute(world.made, &newer(NEWEST + 1)).await;
    let refused = check_schema(world.database.as_ref()).await.unwrap_err();
    assert!(matches!(refused, SchemaError::TooNew { found, .. } if found == NEWEST + 1));
    let refused = migrate(world.database.as_ref()).await.unwrap_err();
    assert!(matches!(refused, SchemaError::TooNew { found, .. } if found == NEWEST + 1));
}

async fn execute(made: &TestDatabase, statements: &str) {
    match made.url.strip_prefix("sqlite://") {
        Some(path) => rusqlite::Connection::open(path)
            .unwrap()
            .execute_batch(statements)
            .unwrap(),
        None => database::as_superuser(&made.url.parse().unwrap(), statements).await,
    }
}

async fn migrates_an_empty_database_once(made: TestDatabase) {
    let refused = check_schema(made.database.as_ref()).await.unwrap_err();
    assert!(matches!(refused, SchemaError::TooOld { found: 0 }), "{refused}");
    let replicas: Vec<_> = (0..4).map(|_| made.replica()).collect();
    let outcomes = join_all(replicas.iter().map(|replica| replica.migrate())).await;
    let from: Vec<i32> = outcomes.into_iter().map(|outcome| outcome.unwrap().from).collect();
    assert_eq!(from.iter().filter(|from| **from == 0).count(), 1, "{from:?}");
    check_schema(made.database.as_ref()).await.unwrap();
}

#[tokio::test]
async fn concurrent_migrations_of_a_postgres_database_do_it_once() {
    migrates_an_empty_database_once(database::empty_postgres().await).await;
}

#[tokio::test]
async fn concurrent_migrations_of_a_sqlite_file_do_it_once() {
    migrates_an_empty_database_once(database::empty_sqlite()).await;
}
