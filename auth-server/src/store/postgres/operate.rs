//! People, migrations, the feed's reads and the housekeeping on PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use oidc::Timestamp;
use oidc::id::{PersonId, RealmId};
use oidc::person::Person;
use oidc::store::StoreError;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Connection, Transaction};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::destination::Destination;
use super::pool::{Repeat, failed};
use super::row::{column, person};
use super::target::Target;
use super::{Postgres, sql};
use crate::store::people::{NewPerson, PersonChange, PersonError};
use crate::store::rows::{LONGEST_ACCESS_MILLIS, millis, name_key, phone_key, revocation, state_column, to_json};
use crate::store::schema::{self, Migrated, SchemaError, SchemaLevel};
use crate::store::sql as shared;
use crate::store::{Database, Erased, Extent, Recorded, Watch};

/// Revocations that expired so recently are still read: the clock of a server may be behind.
const EXPIRED_MARGIN_MILLIS: i64 = 60_000;

#[async_trait]
impl Database for Postgres {
    fn statements(&self) -> u64 {
        self.pool.statements()
    }

    fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    async fn schema_level(&self) -> Result<SchemaLevel, StoreError> {
        let exists = self.first(Repeat::Harmless, sql::HAS_SCHEMA, &[]).await?;
        let exists = exists.is_some_and(|row| row.try_get(0).unwrap_or(false));
        if !exists {
            return Ok(SchemaLevel {
                level: 0,
                usable_from: 0,
            });
        }
        match self.first(Repeat::Harmless, shared::SCHEMA_LEVEL, &[]).await? {
            Some(row) => Ok(SchemaLevel {
                level: column(&row, "level")?,
                usable_from: column(&row, "usable_from")?,
            }),
            None => Ok(SchemaLevel {
                level: 0,
                usable_from: 0,
            }),
        }
    }

    async fn migrate(&self) -> Result<Migrated, SchemaError> {
        let mut client = self.connect().await?;
        // A migration may take longer than any request.
        client
            .batch_execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
            .await
            .map_err(failed)?;
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.execute(sql::MIGRATION_LOCK, &[]).await.map_err(failed)?;
        transaction.batch_execute(shared::SCHEMA_TABLE).await.map_err(failed)?;
        let found = transaction
            .query_opt(shared::SCHEMA_LEVEL, &[])
            .await
            .map_err(failed)?
            .map_or(Ok((0, 0)), |row| {
                Ok::<_, StoreError>((column(&row, "level")?, column(&row, "usable_from")?))
            })?;
        let found = SchemaLevel {
            level: found.0,
            usable_from: found.1,
        };
        let mut to = found.level;
        for migration in schema::missing(found)? {
            transaction.batch_execute(migration.sql).await.map_err(failed)?;
            transaction
                .execute(shared::SCHEMA_APPLIED, &[&migration.level, &migration.usable_from])
                .await
                .map_err(failed)?;
            to = migration.level;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(Migrated { from: found.level, to })
    }

    async fn create_person(&self, realm: RealmId, new: NewPerson<'_>) -> Result<PersonId, PersonError> {
        new.check()?;
        let mut client = self.connect().await?;
        let transaction = client.transaction().await.map_err(failed)?;
        let username_key = name_key(new.username);
        let email_key = new.profile.email.as_deref().map(name_key);
        let phone_key = new.profile.phone_number.as_deref().map(phone_key);
        let inserted = transaction
            .query(shared::NAME_TAKEN, &[&realm.0, &username_key, &email_key, &phone_key])
            .await
            .map_err(failed)?;
        if let Some(row) = inserted.first() {
            return Err(new.taken(row.try_get(0).map_err(failed)?));
        }
        let inserted = transaction
            .execute(
                shared::CREATE_PERSON,
                &[
                    &realm.0,
                    &new.id.0,
                    &new.username,
                    &username_key,
                    &email_key,
                    &phone_key,
                    &to_json(new.groups)?,
                    &to_json(new.profile)?,
                    &new.password_hash.map(|hash| hash.expose().as_str()),
                    &new.now.unix_millis(),
                ],
            )
            .await
            .map_err(failed)?;
        if inserted == 0 {
            // Somebody else was faster: the names are visible now.
            let taken = transaction
                .query_opt(shared::NAME_TAKEN, &[&realm.0, &username_key, &email_key, &phone_key])
                .await
                .map_err(failed)?;
            let which = taken.map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
            return Err(new.taken(which));
        }
        transaction.commit().await.map_err(failed)?;
        Ok(new.id)
    }

    async fn change_person(
        &self,
        realm: RealmId,
        username: &str,
        change: PersonChange<'_>,
        now: Timestamp,
    ) -> Result<PersonId, PersonError> {
        let mut client = self.connect().await?;
        let transaction = client.transaction().await.map_err(failed)?;
        let key = name_key(username);
        let now = now.unix_millis();
        let changed = match change {
            PersonChange::Password(hash) => {
                transaction
                    .query_opt(shared::SET_PASSWORD, &[&realm.0, &key, hash.expose(), &now])
                    .await
            }
            PersonChange::State(state) => {
                transaction
                    .query_opt(shared::SET_STATE, &[&realm.0, &key, &state_column(state), &now])
                    .await
            }
            PersonChange::Delete => transaction.query_opt(shared::DELETE_PERSON, &[&realm.0, &key]).await,
        };
        let Some(row) = changed.map_err(failed)? else {
            return Err(PersonError::Unknown(username.to_owned()));
        };
        let id: Uuid = row.try_get(0).map_err(failed)?;
        let epoch: i32 = row.try_get(1).map_err(failed)?;
        end_everything(&transaction, realm, id, epoch, now).await?;
        if matches!(change, PersonChange::Delete) {
            for statement in shared::FORGET_PERSON {
                transaction.execute(statement, &[&realm.0, &id]).await.map_err(failed)?;
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(PersonId(id))
    }

    async fn people(&self, realm: RealmId, after: Option<&str>, limit: u32) -> Result<Vec<Person>, StoreError> {
        let after = after.map(name_key).unwrap_or_default();
        self.pool
            .query(Repeat::Harmless, shared::PEOPLE, &[&realm.0, &after, &i64::from(limit)])
            .await?
            .iter()
            .map(person)
            .collect()
    }

    async fn read_revocations(&self, extent: Extent) -> Result<Recorded, StoreError> {
        let (statement, back) = match extent {
            Extent::Everything => (sql::READ_EVERYTHING, EXPIRED_MARGIN_MILLIS),
            Extent::Last(duration) => (sql::READ_LAST, millis(duration)),
        };
        let rows = self.pool.query(Repeat::Harmless, statement, &[&back]).await?;
        let mut recorded = Recorded {
            revocations: Vec::with_capacity(rows.len()),
            database_clock: Timestamp::from_unix_millis(0),
            incarnation: 0,
        };
        for row in &rows {
            recorded.database_clock = Timestamp::from_unix_millis(column(row, "clock")?);
            recorded.incarnation = column(row, "incarnation")?;
            if let Some(kind) = column(row, "kind")? {
                let (id, epoch, expires_at) = (column(row, "id")?, column(row, "epoch")?, column(row, "expires_at")?);
                recorded.revocations.push(revocation(kind, id, epoch, expires_at)?);
            }
        }
        Ok(recorded)
    }

    fn watch(&self, wake: Arc<Notify>) -> Watch {
        let task = self
            .runtime
            .handle()
            .spawn(listen(Arc::clone(self.pool.destination()), wake));
        Watch {
            _alive: Arc::new(()),
            _task: Some(AbortOnDropHandle::new(task)),
        }
    }

    async fn delete_expired(&self, now: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        let mut deleted = 0;
        let before = now.unix_millis();
        let later = before.saturating_sub(EXPIRED_MARGIN_MILLIS);
        let all = sql::DELETE_EXPIRED
            .into_iter()
            .map(|statement| (statement, before))
            .chain([(sql::DELETE_REVOCATIONS, later)]);
        for (statement, end) in all {
            let row = self
                .first(Repeat::Harmless, statement, &[&end, &i64::from(at_most)])
                .await?;
            let count: i64 = row.as_ref().map_or(Ok(0), |row| column(row, "deleted"))?;
            deleted += u64::try_from(count).unwrap_or(0);
        }
        Ok(deleted)
    }

    async fn is_used_since(&self, realm: RealmId, since: Timestamp) -> Result<bool, StoreError> {
        let row = self
            .first(Repeat::Harmless, shared::USED_SINCE, &[&realm.0, &since.unix_millis()])
            .await?;
        row.map_or(Ok(false), |row| row.try_get(0).map_err(failed))
    }

    async fn erase(&self, realm: RealmId, at_most: u32) -> Result<Erased, StoreError> {
        let (mut erased, mut left) = (Erased::default(), i64::from(at_most));
        for (table, statement) in sql::ERASE {
            let row = self.first(Repeat::Harmless, statement, &[&realm.0, &left]).await?;
            let Some(row) = row.filter(|row| row.try_get("is_ours").unwrap_or(false)) else {
                return Ok(erased);
            };
            let count: i64 = column(&row, "deleted")?;
            erased.add(table, u64::try_from(count).unwrap_or(0));
            left -= count;
            if left <= 0 {
                return Ok(erased);
            }
        }
        erased.is_complete = true;
        Ok(erased)
    }
}

impl Postgres {
    /// A connection outside the pool, driven on the store's runtime.
    async fn connect(&self) -> Result<tokio_postgres::Client, StoreError> {
        self.pool.dedicated(self.runtime.handle()).await
    }
}

/// Ends the sessions of a person and records the new epoch, for as long as anything made under the old one could live.
async fn end_everything(
    transaction: &Transaction<'_>,
    realm: RealmId,
    person: Uuid,
    epoch: i32,
    now: i64,
) -> Result<(), StoreError> {
    let last: Option<i64> = transaction
        .query_one(shared::LAST_SESSION_END, &[&realm.0, &person])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed)?;
    let end = last.unwrap_or(now).max(now.saturating_add(LONGEST_ACCESS_MILLIS));
    transaction
        .execute(shared::END_SESSIONS, &[&realm.0, &person, &now])
        .await
        .map_err(failed)?;
    transaction
        .query(sql::RECORD_PERSON, &[&realm.0, &person, &epoch, &end])
        .await
        .map_err(failed)?;
    Ok(())
}

/// Listens on a connection of its own for ever; the feed reads without it as well, only later.
async fn listen(destination: Arc<Destination>, wake: Arc<Notify>) {
    loop {
        let mut moves = destination.moves();
        let ended = tokio::select! {
            ended = listen_once(destination.target(), &wake) => ended,
            Ok(()) = moves.changed() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "listening for revocations ended");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(target: Target, wake: &Notify) -> Result<(), tokio_postgres::Error> {
    if let Some(tls) = target.tls {
        let (client, connection) = target.config.connect(tls).await?;
        forward(client, connection, wake).await
    } else {
        let (client, connection) = target.config.connect(tokio_postgres::NoTls).await?;
        forward(client, connection, wake).await
    }
}

/// Forwards notifications until the connection ends.
async fn forward<S, T>(
    client: tokio_postgres::Client,
    mut connection: Connection<S, T>,
    wake: &Notify,
) -> Result<(), tokio_postgres::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
    let subscribed = client.batch_execute(sql::LISTEN);
    tokio::pin!(subscribed);
    let mut listening = false;
    loop {
        tokio::select! {
            done = &mut subscribed, if !listening => {
                done?;
                listening = true;
                // Something may have been recorded before.
                wake.notify_one();
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(_))) => wake.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}
