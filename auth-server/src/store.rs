//! The database behind the protocol's [`oidc::store::Store`] port: PostgreSQL, or SQLite embedded in the process.
//!
//! [`open`] turns a URL into a [`Database`]; nothing above this module knows which one it is. This folder holds all SQL of
//! the repository. A server never alters the schema: [`migrate`] does, [`check_schema`] refuses one that does not fit.
//! The revocation [`feed`] and the [`housekeeping`] run on the store's own runtime, away from the request threads.

pub mod feed;
pub mod housekeeping;
pub mod people;
mod postgres;
mod rows;
mod runtime;
pub mod schema;
#[cfg(test)]
mod scoped;
mod sql;
mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use oidc::id::{PersonId, RealmId};
use oidc::person::Person;
use oidc::revocation::Revocation;
use oidc::store::{Store, StoreError};
use oidc::{Secret, Timestamp};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use self::people::{NewPerson, PersonChange, PersonError};
use self::schema::{Migrated, SchemaError, SchemaLevel};

/// Where the database is, and how much of it this process may use.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `postgres://user:password@host[,host…]/database[?sslmode=…]` or `sqlite:///absolute/path`.
    pub url: Secret<String>,
    /// Reads the URL again while the server runs; without it, the URL never changes.
    pub reread: Option<Reread>,
    /// PostgreSQL connections at most; the feed's listener has one more.
    pub pool_size: u32,
}

impl DatabaseSettings {
    /// The database at `url` with the default of 10 connections.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            reread: None,
            pool_size: 10,
        }
    }
}

/// Reads the URL of the database from where it came from: a mounted file says something else after a rotation.
#[derive(Clone)]
pub struct Reread(Arc<dyn Fn() -> Result<Secret<String>, String> + Send + Sync>);

impl Reread {
    /// Reads by `read`, which says in a sentence why it could not. It must not block for long.
    pub fn new(read: impl Fn() -> Result<Secret<String>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    fn read(&self) -> Result<Secret<String>, String> {
        (self.0)()
    }
}

impl std::fmt::Debug for Reread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reread")
    }
}

/// Why a database cannot be opened: the settings are wrong. A database that is merely down is not such an error.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither `postgres://` nor `sqlite://`.
    #[error("database URL must begin with postgres:// or sqlite:///")]
    UnknownScheme,
    /// Not a PostgreSQL URL.
    #[error("database URL is not valid")]
    InvalidUrl(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No database or host named.
    #[error("database URL names no {0}")]
    Missing(&'static str),
    /// `prefer` and `allow` protect against nobody: an attacker in the middle answers that there is no TLS.
    #[error("sslmode={0} is not supported: use disable, or verify-full (require means the same)")]
    TlsMode(String),
    /// The certificate authorities cannot be read.
    #[error("certificate authorities for the database cannot be read")]
    TlsRoots(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A SQLite path that depends on the working directory.
    #[error("SQLite needs an absolute path: sqlite:///path/to/file")]
    RelativePath,
    /// The SQLite file cannot be opened or created.
    #[error("SQLite file {path} cannot be opened")]
    File {
        /// The path in the URL.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The process may not start threads.
    #[error("store threads cannot be started")]
    Threads(#[source] std::io::Error),
}

/// A database: the protocol's port, and what operating it needs beyond.
#[async_trait]
pub trait Database: Store {
    /// Statements executed since it was opened, one per round trip (for metrics, and for the budgets that tests assert).
    fn statements(&self) -> u64;

    /// The runtime that drives connections; the feed and the housekeeping run there.
    fn runtime(&self) -> &tokio::runtime::Handle;

    /// The level of the schema; level 0 is an empty database.
    async fn schema_level(&self) -> Result<SchemaLevel, StoreError>;

    /// Brings the schema to the newest level, under a lock that lets one process do it at a time.
    async fn migrate(&self) -> Result<Migrated, SchemaError>;

    /// Adds a person.
    async fn create_person(&self, realm: RealmId, person: NewPerson<'_>) -> Result<PersonId, PersonError>;

    /// Changes or deletes the person of that user name: raises the epoch, ends the sessions, records the revocation.
    async fn change_person(
        &self,
        realm: RealmId,
        username: &str,
        change: PersonChange<'_>,
        now: Timestamp,
    ) -> Result<PersonId, PersonError>;

    /// People in the order of their user names, beginning behind `after`.
    async fn people(&self, realm: RealmId, after: Option<&str>, limit: u32) -> Result<Vec<Person>, StoreError>;

    /// Reads revocations of all realms for the feed.
    async fn read_revocations(&self, extent: Extent) -> Result<Recorded, StoreError>;

    /// Notifies `wake` soon after something was recorded, as far as the backend can tell, until the result is dropped.
    fn watch(&self, wake: Arc<Notify>) -> Watch;

    /// Deletes at most `at_most` rows of each table that expired before `now`; returns how many. Does nothing while
    /// another replica does it.
    async fn delete_expired(&self, now: Timestamp, at_most: u32) -> Result<u64, StoreError>;

    /// Whether somebody has signed in to the realm, or a refresh token of it was used, after `since`.
    async fn is_used_since(&self, realm: RealmId, since: Timestamp) -> Result<bool, StoreError>;

    /// Deletes at most `at_most` rows of the realm: people after everything of theirs, revocations last. Does nothing
    /// while another replica deletes.
    async fn erase(&self, realm: RealmId, at_most: u32) -> Result<Erased, StoreError>;
}

/// What was deleted of a realm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many rows went, by table. Tables without any are not listed.
    pub rows: BTreeMap<&'static str, u64>,
    /// Whether nothing is left.
    pub is_complete: bool,
}

impl Erased {
    fn add(&mut self, table: &'static str, rows: u64) {
        if rows > 0 {
            *self.rows.entry(table).or_default() += rows;
        }
    }
}

/// How much the feed reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All that has not expired.
    Everything,
    /// What was recorded within the last so long, by the database's clock.
    Last(Duration),
}

/// What the feed read.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The revocations.
    pub revocations: Vec<Revocation>,
    /// The database's clock at the read.
    pub database_clock: Timestamp,
    /// Which run of which server answered: another value means that a restart or a failover lies between two reads.
    pub incarnation: i64,
}

/// Keeps a watcher alive; dropping it ends the watcher.
#[derive(Debug)]
pub struct Watch {
    _alive: Arc<()>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// Opens the database; connects lazily, so that a database that is down is found by the first use.
pub fn open(settings: &DatabaseSettings) -> Result<Arc<dyn Database>, OpenError> {
    let url = settings.url.expose();
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(Arc::new(postgres::Postgres::open(settings)?))
    } else if let Some(path) = url.strip_prefix("sqlite://") {
        Ok(Arc::new(sqlite::Sqlite::open(path)?))
    } else {
        Err(OpenError::UnknownScheme)
    }
}

/// Brings the schema of `database` to the level this program knows. Explicit: serving never does it.
pub async fn migrate(database: &dyn Database) -> Result<Migrated, SchemaError> {
    database.migrate().await
}

/// Refuses a schema that this program cannot serve, naming both versions and the command that helps.
pub async fn check_schema(database: &dyn Database) -> Result<(), SchemaError> {
    schema::check(database.schema_level().await?)
}
