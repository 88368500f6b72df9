//! The store on PostgreSQL: every promise of the port is one statement.
//!
//! The statements are in `sql`, connections in `pool`, people, migrations, feed and housekeeping in `operate`. Isolation is
//! `read committed`: a statement that waited for a row goes on with the newest version of it.

mod destination;
mod operate;
mod outage;
mod pool;
mod row;
mod sql;
mod target;

use std::time::Duration;

use async_trait::async_trait;
use oidc::Timestamp;
use oidc::config::IdentifierKind;
use oidc::id::{FamilyId, FlowId, GrantId, PersonId, RealmId, SessionId};
use oidc::person::Person;
use oidc::revocation::Revocation;
use oidc::store::{
    AttemptOutcome, CodeRedemption, CompletedLogin, LoginOutcome, PasswordAttempt, PersonWithPassword,
    RedemptionOutcome, RefreshRotation, RotationOutcome, Store, StoreError,
};
use tokio_postgres::Row;
use uuid::Uuid;

use self::destination::Destination;
use self::pool::{Pool, Repeat};
use self::row::{column, person};
use crate::store::rows::{
    LONGEST_ACCESS_MILLIS, attempt_counter, millis, name_key, phone_key, proof_key, revoked_columns, to_json,
};
use crate::store::runtime::Runtime;
use crate::store::sql as shared;
use crate::store::{DatabaseSettings, OpenError};

/// A leeway of at least so much makes a repeated rotation find its own successor.
const REPEATABLE_LEEWAY_MILLIS: i64 = 5_000;

/// A PostgreSQL database.
pub(super) struct Postgres {
    pool: Pool,
    // Last, so that the pool goes first.
    runtime: Runtime,
}

impl Postgres {
    pub(super) fn open(settings: &DatabaseSettings) -> Result<Self, OpenError> {
        let destination = Destination::new(settings.url.clone(), settings.reread.clone())?;
        let runtime = Runtime::start().map_err(OpenError::Threads)?;
        let pool = Pool::new(destination, settings.pool_size, runtime.handle());
        Ok(Self { pool, runtime })
    }

    /// The first row of one statement.
    async fn first(
        &self,
        repeat: Repeat,
        statement: &'static str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.pool.query(repeat, statement, params).await?.into_iter().next())
    }
}

#[async_trait]
impl Store for Postgres {
    async fn begin_password_attempt(
        &self,
        realm: RealmId,
        attempt: PasswordAttempt<'_>,
    ) -> Result<AttemptOutcome, StoreError> {
        let PasswordAttempt {
            identifier,
            kinds,
            source,
            max_attempts,
            window,
            now,
        } = attempt;
        let counter = attempt_counter(identifier, source);
        let name = |kind| kinds.contains(&kind).then(|| name_key(identifier));
        let phone = kinds.contains(&IdentifierKind::Phone).then(|| phone_key(identifier));
        let row = self
            .first(
                Repeat::Harmless,
                sql::BEGIN_ATTEMPT,
                &[
                    &realm.0,
                    &counter.as_slice(),
                    &i32::try_from(max_attempts).unwrap_or(i32::MAX),
                    &now.unix_millis(),
                    &now.after(window).unix_millis(),
                    &name(IdentifierKind::Username),
                    &name(IdentifierKind::Email),
                    &phone,
                ],
            )
            .await?;
        let attempts: Option<i32> = row.as_ref().map(|row| column(row, "attempts")).transpose()?.flatten();
        let (Some(row), Some(_)) = (&row, attempts) else {
            let ends_at: Option<i64> = row
                .as_ref()
                .map(|row| column(row, "window_ends_at"))
                .transpose()?
                .flatten();
            let ends_at = ends_at.map_or(now.after(window), Timestamp::from_unix_millis);
            return Ok(AttemptOutcome::TooMany {
                retry_after: ends_at.since(now),
            });
        };
        let password_hash: Option<String> = column(row, "password_hash")?;
        let found = match password_hash {
            Some(password_hash) => Some(Box::new(PersonWithPassword {
                person: person(row)?,
                password_hash: oidc::Secret::new(password_hash),
            })),
            None => None,
        };
        Ok(AttemptOutcome::Counted(found))
    }

    async fn complete_login(&self, realm: RealmId, login: CompletedLogin<'_>) -> Result<LoginOutcome, StoreError> {
        let CompletedLogin {
            flow,
            flow_expires_at,
            person,
            epoch,
            session,
            session_expires_at,
            identifier,
            source,
            device,
            new_password_hash,
            now,
        } = login;
        let counter = attempt_counter(identifier, source);
        // Tells a second run of this call from a second submit.
        let marker = Uuid::new_v4();
        let row = self
            .first(
                Repeat::Harmless,
                sql::COMPLETE_LOGIN,
                &[
                    &realm.0,
                    &flow.0,
                    &flow_expires_at.unix_millis(),
                    &person.0,
                    &epoch,
                    &session.0,
                    &session_expires_at.unix_millis(),
                    &counter.as_slice(),
                    &device,
                    &new_password_hash.map(|hash| hash.expose().as_str()),
                    &now.unix_millis(),
                    &marker,
                ],
            )
            .await?;
        let Some(row) = row else {
            return Ok(LoginOutcome::PersonChanged);
        };
        if column::<Uuid>(&row, "marker")? == marker {
            Ok(LoginOutcome::Recorded)
        } else {
            Ok(LoginOutcome::AlreadySpent {
                session: SessionId(column(&row, "session")?),
            })
        }
    }

    async fn person(&self, realm: RealmId, id: PersonId) -> Result<Option<Person>, StoreError> {
        self.first(Repeat::Harmless, shared::PERSON, &[&realm.0, &id.0])
            .await?
            .as_ref()
            .map(person)
            .transpose()
    }

    async fn consented_scopes(
        &self,
        realm: RealmId,
        person: PersonId,
        client_id: &str,
    ) -> Result<Vec<String>, StoreError> {
        self.pool
            .query(
                Repeat::Harmless,
                shared::CONSENTED_SCOPES,
                &[&realm.0, &person.0, &client_id],
            )
            .await?
            .iter()
            .map(|row| column(row, "scope"))
            .collect()
    }

    async fn remember_consent(
        &self,
        realm: RealmId,
        person: PersonId,
        client_id: &str,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&realm.0, &person.0, &client_id, &scopes, &now.unix_millis()];
        self.pool
            .query(Repeat::Harmless, sql::REMEMBER_CONSENT, params)
            .await
            .map(drop)
    }

    async fn redeem_code(
        &self,
        realm: RealmId,
        redemption: CodeRedemption<'_>,
    ) -> Result<RedemptionOutcome, StoreError> {
        let CodeRedemption {
            code,
            code_expires_at,
            request,
            grant,
            client_id,
            person: granted_by,
            epoch,
            session,
            scopes,
            family,
            now,
        } = redemption;
        let row = self
            .first(
                Repeat::Harmless,
                sql::REDEEM_CODE,
                &[
                    &realm.0,
                    &code.0,
                    &code_expires_at.unix_millis(),
                    &request.0,
                    &grant.0,
                    &client_id,
                    &granted_by.0,
                    &epoch,
                    &session.0,
                    &to_json(scopes)?,
                    &now.unix_millis(),
                    &family.map(|family| family.id.0),
                    &family.map_or(0, |family| family.expires_at.unix_millis()),
                    &family.is_some_and(|family| family.offline),
                ],
            )
            .await?;
        let Some(row) = row else {
            return Ok(RedemptionOutcome::NotAuthorized);
        };
        if column::<Uuid>(&row, "request")? != request.0 {
            return Ok(RedemptionOutcome::Replayed {
                grant: GrantId(column(&row, "grant_id")?),
            });
        }
        match column::<Option<Uuid>>(&row, "id")? {
            Some(_) => Ok(RedemptionOutcome::Redeemed(Box::new(person(&row)?))),
            None => Ok(RedemptionOutcome::NotAuthorized),
        }
    }

    async fn rotate_refresh(
        &self,
        realm: RealmId,
        rotation: RefreshRotation<'_>,
    ) -> Result<RotationOutcome, StoreError> {
        let RefreshRotation {
            family,
            sequence,
            client_id,
            rotate,
            leeway,
            idle,
            now,
        } = rotation;
        let leeway = millis(leeway);
        let repeat = if !rotate || leeway >= REPEATABLE_LEEWAY_MILLIS {
            Repeat::Harmless
        } else {
            Repeat::Never
        };
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
            &realm.0,
            &family.0,
            &client_id,
            &sequence,
            &rotate,
            &leeway,
            &millis(idle),
            &now.unix_millis(),
            &LONGEST_ACCESS_MILLIS,
        ];
        let Some(row) = self.first(repeat, sql::ROTATE_REFRESH, params).await? else {
            return Ok(RotationOutcome::NotAuthorized);
        };
        if column(&row, "replayed")? {
            return Ok(RotationOutcome::Replayed);
        }
        Ok(RotationOutcome::Rotated {
            sequence: column(&row, "seq")?,
            person: Box::new(person(&row)?),
        })
    }

    async fn refresh_sequence(
        &self,
        realm: RealmId,
        family: FamilyId,
        idle: Duration,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        self.first(
            Repeat::Harmless,
            shared::REFRESH_SEQUENCE,
            &[&realm.0, &family.0, &now.unix_millis(), &millis(idle)],
        )
        .await?
        .as_ref()
        .map(|row| column(row, "seq"))
        .transpose()
    }

    async fn revoke(&self, realm: RealmId, revocations: &[Revocation], now: Timestamp) -> Result<(), StoreError> {
        let mut columns: (Vec<i16>, Vec<Uuid>, Vec<i32>, Vec<i64>) = Default::default();
        for Revocation { what, expires_at } in revocations {
            let (kind, id, epoch) = revoked_columns(*what);
            columns.0.push(kind);
            columns.1.push(id);
            columns.2.push(epoch);
            columns.3.push(expires_at.unix_millis());
        }
        let (kinds, ids, epochs, ends) = columns;
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&realm.0, &kinds, &ids, &epochs, &ends, &now.unix_millis()];
        self.pool.query(Repeat::Harmless, sql::REVOKE, params).await.map(drop)
    }

    async fn use_once(
        &self,
        realm: RealmId,
        audience: &str,
        jti: &str,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let proof = proof_key(audience, jti);
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&realm.0, &proof.as_slice(), &expires_at.unix_millis()];
        let rows = self.pool.query(Repeat::Never, shared::USE_ONCE, params).await?;
        Ok(!rows.is_empty())
    }

    async fn keep_request(
        &self,
        realm: RealmId,
        id: FlowId,
        request: &[u8],
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&realm.0, &id.0, &request, &expires_at.unix_millis()];
        self.pool
            .query(Repeat::Harmless, shared::KEEP_REQUEST, params)
            .await
            .map(drop)
    }

    async fn kept_request(&self, realm: RealmId, id: FlowId, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        self.first(
            Repeat::Harmless,
            shared::KEPT_REQUEST,
            &[&realm.0, &id.0, &now.unix_millis()],
        )
        .await?
        .as_ref()
        .map(|row| column(row, "request"))
        .transpose()
    }
}
