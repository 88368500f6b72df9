//! People, migrations, the feed's reads and the housekeeping on SQLite.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use oidc::Timestamp;
use oidc::id::{PersonId, RealmId};
use oidc::person::Person;
use oidc::store::StoreError;
use rusqlite::{Connection, Transaction};
use tokio::sync::Notify;

use super::lanes::{Failed, connect};
use super::row::{Id, execute, first, person, query};
use super::{Sqlite, sql};
use crate::store::people::{NewPerson, PersonChange, PersonError};
use crate::store::rows::{LONGEST_ACCESS_MILLIS, millis, name_key, phone_key, revocation, state_column, to_json};
use crate::store::schema::{self, Migrated, SchemaError, SchemaLevel};
use crate::store::sql as shared;
use crate::store::{Database, Erased, Extent, Recorded, Watch};

/// How often the watcher looks for commits of other connections.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// Revocations that expired so recently are still read.
const EXPIRED_MARGIN_MILLIS: i64 = 60_000;

#[async_trait]
impl Database for Sqlite {
    fn statements(&self) -> u64 {
        self.lanes.statements()
    }

    fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    async fn schema_level(&self) -> Result<SchemaLevel, StoreError> {
        self.lanes.read(|connection| Ok(level(connection)?)).await
    }

    async fn migrate(&self) -> Result<Migrated, SchemaError> {
        self.lanes
            .write(|transaction| {
                transaction.execute_batch(shared::SCHEMA_TABLE)?;
                let found = level(transaction)?;
                let missing = match schema::missing(found) {
                    Ok(missing) => missing,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let mut to = found.level;
                for migration in missing {
                    transaction.execute_batch(migration.sql)?;
                    let applied: &[&dyn rusqlite::ToSql] = &[&migration.level, &migration.usable_from];
                    execute(transaction, shared::SCHEMA_APPLIED, applied)?;
                    to = migration.level;
                }
                Ok(Ok(Migrated { from: found.level, to }))
            })
            .await?
    }

    async fn create_person(&self, realm: RealmId, new: NewPerson<'_>) -> Result<PersonId, PersonError> {
        new.check()?;
        let id = new.id;
        let username = new.username.to_owned();
        let username_key = name_key(new.username);
        let email_key = new.profile.email.as_deref().map(name_key);
        let phone_key = new.profile.phone_number.as_deref().map(phone_key);
        let (groups, profile) = (to_json(new.groups)?, to_json(new.profile)?);
        let hash = new.password_hash.cloned();
        let now = new.now.unix_millis();
        let taken = self
            .lanes
            .write(move |transaction| {
                let realm = Id(realm.0);
                let names: &[&dyn rusqlite::ToSql] = &[&realm, &username_key, &email_key, &phone_key];
                let taken = first(transaction, shared::NAME_TAKEN, names, |row| row.get::<_, i32>(0))?;
                if taken.is_none() {
                    let hash = hash.as_ref().map(|hash| hash.expose().as_str());
                    let person: &[&dyn rusqlite::ToSql] = &[
                        &realm,
                        &Id(id.0),
                        &username,
                        &username_key,
                        &email_key,
                        &phone_key,
                        &groups,
                        &profile,
                        &hash,
                        &now,
                    ];
                    execute(transaction, shared::CREATE_PERSON, person)?;
                }
                Ok(taken)
            })
            .await?;
        match taken {
            Some(which) => Err(new.taken(which)),
            None => Ok(id),
        }
    }

    async fn change_person(
        &self,
        realm: RealmId,
        username: &str,
        change: PersonChange<'_>,
        now: Timestamp,
    ) -> Result<PersonId, PersonError> {
        let key = name_key(username);
        let change = match change {
            PersonChange::Password(hash) => Change::Password(hash.clone()),
            PersonChange::State(state) => Change::State(state_column(state)),
            PersonChange::Delete => Change::Delete,
        };
        let now = now.unix_millis();
        let changed = self
            .lanes
            .write(move |transaction| {
                let realm = Id(realm.0);
                let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Id>(0)?, row.get::<_, i32>(1)?));
                let changed = match &change {
                    Change::Password(hash) => first(
                        transaction,
                        shared::SET_PASSWORD,
                        &[&realm, &key, hash.expose(), &now],
                        read,
                    )?,
                    Change::State(state) => first(transaction, shared::SET_STATE, &[&realm, &key, state, &now], read)?,
                    Change::Delete => first(transaction, shared::DELETE_PERSON, &[&realm, &key], read)?,
                };
                let Some((id, epoch)) = changed else {
                    return Ok(None);
                };
                end_everything(transaction, realm, id, epoch, now)?;
                if matches!(change, Change::Delete) {
                    for statement in shared::FORGET_PERSON {
                        execute(transaction, statement, &[&realm, &id])?;
                    }
                }
                Ok(Some(id))
            })
            .await?;
        match changed {
            Some(Id(id)) => Ok(PersonId(id)),
            None => Err(PersonError::Unknown(username.to_owned())),
        }
    }

    async fn people(&self, realm: RealmId, after: Option<&str>, limit: u32) -> Result<Vec<Person>, StoreError> {
        let after = after.map(name_key).unwrap_or_default();
        self.lanes
            .read(move |connection| {
                query(connection, shared::PEOPLE, &[&Id(realm.0), &after, &limit], person)?
                    .into_iter()
                    .map(|row| Ok(row.into_person()?))
                    .collect()
            })
            .await
    }

    async fn read_revocations(&self, extent: Extent) -> Result<Recorded, StoreError> {
        let (statement, back) = match extent {
            Extent::Everything => (sql::READ_EVERYTHING, EXPIRED_MARGIN_MILLIS),
            Extent::Last(duration) => (sql::READ_LAST, millis(duration)),
        };
        self.lanes
            .read(move |connection| {
                let clock = first(connection, sql::CLOCK, &[], |row| row.get(0))?.unwrap_or(0);
                let rows = query(connection, statement, &[&back], |row| {
                    Ok((row.get(0)?, row.get::<_, Id>(1)?.0, row.get(2)?, row.get(3)?))
                })?;
                let revocations = rows
                    .into_iter()
                    .map(|(kind, id, epoch, expires_at)| revocation(kind, id, epoch, expires_at))
                    .collect::<Result<_, _>>()?;
                Ok(Recorded {
                    revocations,
                    database_clock: Timestamp::from_unix_millis(clock),
                    incarnation: 0,
                })
            })
            .await
    }

    fn watch(&self, wake: Arc<Notify>) -> Watch {
        let alive = Arc::new(());
        let watched = Arc::downgrade(&alive);
        let path = self.path.clone();
        let thread = std::thread::Builder::new().name("store-watch".to_owned());
        let started = thread.spawn(move || match connect(&path) {
            Ok(connection) => watch(&connection, &watched, &wake),
            Err(error) => tracing::warn!(%error, "SQLite file cannot be watched; revocations arrive a second later"),
        });
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to watch the SQLite file; revocations arrive a second later");
        }
        Watch {
            _alive: alive,
            _task: None,
        }
    }

    async fn delete_expired(&self, now: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        let before = now.unix_millis();
        let later = before.saturating_sub(EXPIRED_MARGIN_MILLIS);
        let all = sql::DELETE_EXPIRED
            .into_iter()
            .map(move |statement| (statement, before))
            .chain([(sql::DELETE_REVOCATIONS, later)]);
        let mut deleted = 0;
        for (statement, end) in all {
            // A transaction each, so that no request waits for all of them.
            let count = self
                .lanes
                .write(move |transaction| Ok(execute(transaction, statement, &[&end, &at_most])?))
                .await?;
            deleted += u64::try_from(count).unwrap_or(0);
        }
        Ok(deleted)
    }

    async fn is_used_since(&self, realm: RealmId, since: Timestamp) -> Result<bool, StoreError> {
        let since = since.unix_millis();
        self.lanes
            .read(move |connection| {
                let used = first(connection, shared::USED_SINCE, &[&Id(realm.0), &since], |row| {
                    row.get(0)
                })?;
                Ok(used.unwrap_or(false))
            })
            .await
    }

    async fn erase(&self, realm: RealmId, at_most: u32) -> Result<Erased, StoreError> {
        let (mut erased, mut left) = (Erased::default(), u64::from(at_most));
        for (table, statement) in sql::ERASE {
            // A transaction each, so that no request waits for all of them.
            let count = self
                .lanes
                .write(move |transaction| {
                    let most = i64::try_from(left).unwrap_or(i64::MAX);
                    Ok(execute(transaction, statement, &[&Id(realm.0), &most])?)
                })
                .await?;
            let count = u64::try_from(count).unwrap_or(0);
            erased.add(table, count);
            left = left.saturating_sub(count);
            if left == 0 {
                return Ok(erased);
            }
        }
        erased.is_complete = true;
        Ok(erased)
    }
}

/// A change with its own copy of the secret, for the thread that writes.
enum Change {
    Password(oidc::Secret<String>),
    State(i16),
    Delete,
}

fn level(connection: &Connection) -> rusqlite::Result<SchemaLevel> {
    let empty = SchemaLevel {
        level: 0,
        usable_from: 0,
    };
    if first(connection, sql::HAS_SCHEMA, &[], |_| Ok(()))?.is_none() {
        return Ok(empty);
    }
    let found = first(connection, shared::SCHEMA_LEVEL, &[], |row| {
        Ok(SchemaLevel {
            level: row.get(0)?,
            usable_from: row.get(1)?,
        })
    })?;
    Ok(found.unwrap_or(empty))
}

/// Ends the sessions of a person and records the new epoch, for as long as anything made under the old one could live.
fn end_everything(transaction: &Transaction<'_>, realm: Id, person: Id, epoch: i32, now: i64) -> Result<(), Failed> {
    let last = first(transaction, shared::LAST_SESSION_END, &[&realm, &person], |row| {
        row.get::<_, Option<i64>>(0)
    })?;
    let end = last
        .flatten()
        .unwrap_or(now)
        .max(now.saturating_add(LONGEST_ACCESS_MILLIS));
    execute(transaction, shared::END_SESSIONS, &[&realm, &person, &now])?;
    execute(
        transaction,
        sql::RECORD_REVOCATION,
        &[&realm, &4, &person, &epoch, &end],
    )?;
    Ok(())
}

/// Looks for commits of other connections until nobody wants to know.
fn watch(connection: &Connection, alive: &Weak<()>, wake: &Notify) {
    let mut known = None;
    while alive.strong_count() > 0 {
        let version: Option<i64> = connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .ok();
        if version != known {
            known = version;
            wake.notify_one();
        }
        std::thread::sleep(WATCH_EVERY);
    }
}
