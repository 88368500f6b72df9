//! PostgreSQL whose settings change while a server runs: another password, another place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auth_server::store::{self, Database, DatabaseSettings, Reread};
use futures::future::join_all;
use oidc::Secret;
use oidc::store::StoreError;
use tempfile::TempDir;

use super::world::{World, within};
use crate::database::{self, TestDatabase};

/// Ends the connections that are open. One that is just being opened is left: that it failed would be an outage, in which
/// requests are refused for a moment.
const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'";

/// More than what passes between two looks at the file.
const LOOKED: Duration = Duration::from_secs(10);

/// A file with a URL, as it is mounted.
struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn of(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self {
            path: folder.path().join("uri"),
            _folder: folder,
        };
        file.write(url);
        file
    }

    fn write(&self, url: &str) {
        let part = self.path.with_extension("part");
        std::fs::write(&part, url).unwrap();
        std::fs::rename(part, &self.path).unwrap();
    }

    /// A store that follows the file.
    fn open(&self) -> Arc<dyn Database> {
        let path = self.path.clone();
        let read = move || read(&path);
        store::open(&DatabaseSettings {
            url: read().unwrap(),
            reread: Some(Reread::new(read)),
            pool_size: 4,
        })
        .unwrap()
    }
}

fn read(path: &Path) -> Result<Secret<String>, String> {
    let text = std::fs::read_to_string(path);
    text.map(Secret::new).map_err(|error| error.to_string())
}

fn as_role(made: &TestDatabase, role: &str, password: &str) -> String {
    let mut url: url::Url = made.url.parse().unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(password)).unwrap();
    url.to_string()
}

async fn as_superuser(made: &TestDatabase, statement: &str) {
    database::as_superuser(&made.url.parse().unwrap(), statement).await;
}

async fn number(made: &TestDatabase, statement: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(&made.url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let number = client.query_one(statement, &[]).await.unwrap().get(0);
    drop(client);
    driver.await.unwrap().unwrap();
    number
}

#[tokio::test]
async fn a_rotated_password_is_followed_without_a_restart() {
    let made = database::postgres().await;
    let role = format!("{}_role", made.url.rsplit('/').next().unwrap());
    as_superuser(&made, &format!("create role {role} superuser login password 'first'")).await;
    let file = File::of(&as_role(&made, &role, "first"));
    let world = World {
        database: file.open(),
        ..World::new(&made)
    };
    let person = world.person("ada").await;
    let asked = async || world.database.person(world.realm, person).await;
    // A machine that is busy may take longer to connect than a request waits. Nothing else may go wrong.
    let answered = async || {
        within(LOOKED, "a connection", async || match asked().await {
            Ok(found) => found.is_some() || panic!("nobody is found"),
            Err(error) if format!("{error:?}").contains("connections are busy") => false,
            Err(error) => panic!("{error:?}"),
        })
        .await;
    };
    answered().await;

    // What is open goes on; what is opened anew is not let in until the file says the password.
    as_superuser(&made, &format!("alter role {role} password 'second'")).await;
    answered().await;
    as_superuser(&made, TERMINATE).await;
    let refused = join_all((0..5).map(|_| asked())).await;
    let is_unavailable = |answer: &Result<_, StoreError>| matches!(answer, Err(StoreError::Unavailable(_)));
    assert!(refused.iter().all(is_unavailable), "{refused:?}");
    file.write(&as_role(&made, &role, "second"));
    within(LOOKED, "the new password", async || asked().await.is_ok()).await;
    as_superuser(&made, TERMINATE).await;
    answered().await;

    // A file that is wrong or missing ends nothing.
    for wrong in [as_role(&made, &role, "third"), "no URL".to_owned()] {
        file.write(&wrong);
        as_superuser(&made, TERMINATE).await;
        answered().await;
    }
    std::fs::remove_file(&file.path).unwrap();
    as_superuser(&made, TERMINATE).await;
    answered().await;
}

#[tokio::test]
async fn a_database_that_moved_is_followed_once_it_can_be_served() {
    let (one, other) = (database::postgres().await, database::postgres().await);
    let empty = database::empty_postgres().await;
    let file = File::of(&one.url);
    let world = World {
        database: file.open(),
        ..World::new(&one)
    };
    let person = world.person("ada").await;
    let is_there = async || world.database.person(world.realm, person).await.unwrap().is_some();
    assert!(is_there().await);

    let name = empty.url.rsplit('/').next().unwrap();
    let sessions = format!("select sessions from pg_stat_database where datname = '{name}'");
    let before = number(&one, &sessions).await;
    file.write(&empty.url);
    within(LOOKED, "a look at a database without schema", async || {
        number(&one, &sessions).await > before
    })
    .await;
    assert!(is_there().await);

    file.write(&other.url);
    within(LOOKED, "the other database", async || !is_there().await).await;
    let connections = "select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'nauthera-auth'";
    within(LOOKED, "connections to the former one ended", async || {
        let _ = join_all((0..8).map(|_| is_there())).await;
        number(&one, connections).await == 0
    })
    .await;
}
