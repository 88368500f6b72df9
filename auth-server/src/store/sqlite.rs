//! The store in a SQLite file: for evaluation and `dev`, where several processes of one host share it.
//!
//! Every promise of the port is one short transaction under the write lock (`BEGIN IMMEDIATE`). The threads are in
//! `lanes`, the statements in `sql`, people, migrations, feed and housekeeping in `operate`.

mod lanes;
mod operate;
mod row;
mod sql;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use oidc::config::IdentifierKind;
use oidc::id::{FamilyId, FlowId, GrantId, PersonId, RealmId, SessionId};
use oidc::person::Person;
use oidc::revocation::{Revocation, Revoked};
use oidc::store::{
    AttemptOutcome, CodeRedemption, CompletedLogin, LoginOutcome, PasswordAttempt, PersonWithPassword,
    RedemptionOutcome, RefreshRotation, RotationOutcome, Store, StoreError,
};
use oidc::{Secret, Timestamp};
use rusqlite::Transaction;

use self::lanes::{Failed, Lanes};
use self::row::{Id, execute, first, into_person, person, query};
use crate::store::OpenError;
use crate::store::rows::{
    LONGEST_ACCESS_MILLIS, attempt_counter, millis, name_key, phone_key, proof_key, revoked_columns, to_json,
};
use crate::store::runtime::Runtime;
use crate::store::sql as shared;

/// A SQLite database.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    lanes: Lanes,
    runtime: Runtime,
}

impl Sqlite {
    pub(super) fn open(path: &str) -> Result<Self, OpenError> {
        if !path.starts_with('/') {
            return Err(OpenError::RelativePath);
        }
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::File {
            path: path.to_owned(),
            source,
        };
        // Created here, because SQLite would let others of the group read password hashes.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed(Box::new(error)))?;
        let lanes = Lanes::start(Path::new(path)).map_err(failed)?;
        Ok(Self {
            path: PathBuf::from(path),
            lanes,
            runtime: Runtime::start().map_err(OpenError::Threads)?,
        })
    }
}

#[async_trait]
impl Store for Sqlite {
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
        let (username, email) = (name(IdentifierKind::Username), name(IdentifierKind::Email));
        let phone = kinds.contains(&IdentifierKind::Phone).then(|| phone_key(identifier));
        let window_end = now.after(window);
        self.lanes
            .write(move |transaction| {
                let realm = Id(realm.0);
                let attempts = first(
                    transaction,
                    sql::COUNT_ATTEMPT,
                    &[
                        &realm,
                        &counter,
                        &max_attempts,
                        &now.unix_millis(),
                        &window_end.unix_millis(),
                    ],
                    |row| row.get::<_, i64>(0),
                )?;
                if attempts.is_none() {
                    let ends_at = first(transaction, sql::WINDOW_END, &[&realm, &counter], |row| row.get(0))?;
                    let ends_at = ends_at.map_or(window_end, Timestamp::from_unix_millis);
                    return Ok(AttemptOutcome::TooMany {
                        retry_after: ends_at.since(now),
                    });
                }
                let found = first(
                    transaction,
                    sql::FIND_PERSON,
                    &[&realm, &username, &email, &phone],
                    |row| Ok((person(row)?, row.get::<_, String>(7)?)),
                )?;
                let found = match found {
                    Some((row, hash)) => Some(Box::new(PersonWithPassword {
                        person: row.into_person()?,
                        password_hash: Secret::new(hash),
                    })),
                    None => None,
                };
                Ok(AttemptOutcome::Counted(found))
            })
            .await
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
        let device = device.to_owned();
        let new_hash = new_password_hash.cloned();
        self.lanes
            .write(move |transaction| {
                let (realm, flow, person, session) = (Id(realm.0), Id(flow.0), Id(person.0), Id(session.0));
                let now = now.unix_millis();
                let who: &[&dyn rusqlite::ToSql] = &[&realm, &person, &epoch, &session];
                if first(transaction, sql::MAY_SIGN_IN, who, |_| Ok(()))?.is_none() {
                    return Ok(LoginOutcome::PersonChanged);
                }
                let spent = first(transaction, sql::SPENT_STEP, &[&realm, &flow], |row| {
                    row.get::<_, Id>(0)
                })?;
                if let Some(Id(session)) = spent {
                    return Ok(LoginOutcome::AlreadySpent {
                        session: SessionId(session),
                    });
                }
                let flow_end = flow_expires_at.unix_millis();
                execute(transaction, sql::SPEND_STEP, &[&realm, &flow, &session, &flow_end])?;
                execute(transaction, sql::REFUND_ATTEMPT, &[&realm, &counter])?;
                let session_end = session_expires_at.unix_millis();
                let recorded: &[&dyn rusqlite::ToSql] =
                    &[&realm, &session, &person, &epoch, &device, &now, &session_end];
                execute(transaction, sql::RECORD_SESSION, recorded)?;
                if let Some(hash) = &new_hash {
                    execute(
                        transaction,
                        sql::UPGRADE_HASH,
                        &[&realm, &person, &epoch, hash.expose()],
                    )?;
                }
                Ok(LoginOutcome::Recorded)
            })
            .await
    }

    async fn person(&self, realm: RealmId, id: PersonId) -> Result<Option<Person>, StoreError> {
        self.lanes
            .read(move |connection| {
                let row = first(connection, shared::PERSON, &[&Id(realm.0), &Id(id.0)], person)?;
                Ok(into_person(row)?)
            })
            .await
    }

    async fn consented_scopes(
        &self,
        realm: RealmId,
        person: PersonId,
        client_id: &str,
    ) -> Result<Vec<String>, StoreError> {
        let client_id = client_id.to_owned();
        self.lanes
            .read(move |connection| {
                let params: &[&dyn rusqlite::ToSql] = &[&Id(realm.0), &Id(person.0), &client_id];
                Ok(query(connection, shared::CONSENTED_SCOPES, params, |row| row.get(0))?)
            })
            .await
    }

    async fn remember_consent(
        &self,
        realm: RealmId,
        person: PersonId,
        client_id: &str,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let client_id = client_id.to_owned();
        let scopes = scopes.to_vec();
        self.lanes
            .write(move |transaction| {
                for scope in scopes {
                    let params: &[&dyn rusqlite::ToSql] =
                        &[&Id(realm.0), &Id(person.0), &client_id, &scope, &now.unix_millis()];
                    execute(transaction, sql::REMEMBER_CONSENT, params)?;
                }
                Ok(())
            })
            .await
    }

    async fn redeem_code(
        &self,
        realm: RealmId,
        redemption: CodeRedemption<'_>,
    ) -> Result<RedemptionOutcome, StoreError> {
        let client_id = redemption.client_id.to_owned();
        let scopes = to_json(redemption.scopes)?;
        let CodeRedemption {
            code,
            code_expires_at,
            request,
            grant,
            client_id: _,
            person: granted_by,
            epoch,
            session,
            scopes: _,
            family,
            now,
        } = redemption;
        self.lanes
            .write(move |transaction| {
                let (realm, code, request, grant) = (Id(realm.0), Id(code.0), Id(request.0), Id(grant.0));
                let (granted_by, session, now) = (Id(granted_by.0), Id(session.0), now.unix_millis());
                let code_end = code_expires_at.unix_millis();
                execute(
                    transaction,
                    sql::SPEND_CODE,
                    &[&realm, &code, &request, &grant, &code_end],
                )?;
                let spent = first(transaction, sql::SPENT_CODE, &[&realm, &code], |row| {
                    Ok((row.get::<_, Id>(0)?, row.get::<_, Id>(1)?))
                })?;
                if let Some((by, first_grant)) = spent
                    && by != request
                {
                    return Ok(RedemptionOutcome::Replayed {
                        grant: GrantId(first_grant.0),
                    });
                }
                let who: &[&dyn rusqlite::ToSql] = &[&realm, &granted_by, &epoch, &session, &now];
                let who = first(transaction, sql::WHO_GRANTED, who, |row| {
                    Ok((person(row)?, row.get::<_, i64>(7)?))
                })?;
                let Some((person, session_end)) = who else {
                    return Ok(RedemptionOutcome::NotAuthorized);
                };
                let end = family.map_or(code_end, |family| family.expires_at.unix_millis().max(code_end));
                let granted: &[&dyn rusqlite::ToSql] =
                    &[&realm, &grant, &granted_by, &session, &client_id, &scopes, &now, &end];
                execute(transaction, sql::RECORD_GRANT, granted)?;
                if let Some(family) = family {
                    let family_end = family.expires_at.unix_millis();
                    let begun: &[&dyn rusqlite::ToSql] = &[
                        &realm,
                        &Id(family.id.0),
                        &grant,
                        &granted_by,
                        &epoch,
                        &session,
                        &client_id,
                        &family.offline,
                        &now,
                        &family_end,
                    ];
                    execute(transaction, sql::BEGIN_FAMILY, begun)?;
                }
                execute(
                    transaction,
                    sql::KNOW_CLIENT,
                    &[&realm, &session, &client_id, &session_end],
                )?;
                Ok(RedemptionOutcome::Redeemed(Box::new(person.into_person()?)))
            })
            .await
    }

    async fn rotate_refresh(
        &self,
        realm: RealmId,
        rotation: RefreshRotation<'_>,
    ) -> Result<RotationOutcome, StoreError> {
        let client_id = rotation.client_id.to_owned();
        let RefreshRotation {
            family,
            sequence,
            client_id: _,
            rotate,
            leeway,
            idle,
            now,
        } = rotation;
        let (leeway, idle, now) = (millis(leeway), millis(idle), now.unix_millis());
        self.lanes
            .write(move |transaction| {
                let (realm, family) = (Id(realm.0), Id(family.0));
                let params: &[&dyn rusqlite::ToSql] =
                    &[&realm, &family, &client_id, &sequence, &rotate, &leeway, &idle, &now];
                let moved = first(transaction, sql::ROTATE_REFRESH, params, |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, bool>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, Id>(3)?,
                    ))
                })?;
                let Some((sequence, replayed, end, whose)) = moved else {
                    return Ok(RotationOutcome::NotAuthorized);
                };
                if replayed {
                    let end = end.max(now.saturating_add(LONGEST_ACCESS_MILLIS));
                    execute(transaction, sql::RECORD_REVOCATION, &[&realm, &2, &family, &0, &end])?;
                    return Ok(RotationOutcome::Replayed);
                }
                let row = first(transaction, shared::PERSON, &[&realm, &whose], person)?;
                Ok(match into_person(row)? {
                    Some(person) => RotationOutcome::Rotated {
                        sequence,
                        person: Box::new(person),
                    },
                    None => RotationOutcome::NotAuthorized,
                })
            })
            .await
    }

    async fn refresh_sequence(
        &self,
        realm: RealmId,
        family: FamilyId,
        idle: Duration,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        self.lanes
            .read(move |connection| {
                let params: &[&dyn rusqlite::ToSql] = &[&Id(realm.0), &Id(family.0), &now.unix_millis(), &millis(idle)];
                Ok(first(connection, shared::REFRESH_SEQUENCE, params, |row| row.get(0))?)
            })
            .await
    }

    async fn revoke(&self, realm: RealmId, revocations: &[Revocation], now: Timestamp) -> Result<(), StoreError> {
        let revocations = revocations.to_vec();
        self.lanes
            .write(move |transaction| {
                for revocation in revocations {
                    revoke_one(transaction, Id(realm.0), revocation, now.unix_millis())?;
                }
                Ok(())
            })
            .await
    }

    async fn use_once(
        &self,
        realm: RealmId,
        audience: &str,
        jti: &str,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let proof = proof_key(audience, jti);
        self.lanes
            .write(move |transaction| {
                let params: &[&dyn rusqlite::ToSql] = &[&Id(realm.0), &proof, &expires_at.unix_millis()];
                Ok(first(transaction, shared::USE_ONCE, params, |_| Ok(()))?.is_some())
            })
            .await
    }

    async fn keep_request(
        &self,
        realm: RealmId,
        id: FlowId,
        request: &[u8],
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let request = request.to_vec();
        self.lanes
            .write(move |transaction| {
                let params: &[&dyn rusqlite::ToSql] = &[&Id(realm.0), &Id(id.0), &request, &expires_at.unix_millis()];
                execute(transaction, shared::KEEP_REQUEST, params)?;
                Ok(())
            })
            .await
    }

    async fn kept_request(&self, realm: RealmId, id: FlowId, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        self.lanes
            .read(move |connection| {
                let params: &[&dyn rusqlite::ToSql] = &[&Id(realm.0), &Id(id.0), &now.unix_millis()];
                Ok(first(connection, shared::KEPT_REQUEST, params, |row| row.get(0))?)
            })
            .await
    }
}

/// Records one revocation and ends what it names.
fn revoke_one(transaction: &Transaction<'_>, realm: Id, revocation: Revocation, now: i64) -> Result<(), Failed> {
    let Revocation { what, expires_at } = revocation;
    let (kind, id, epoch) = revoked_columns(what);
    let id = Id(id);
    match what {
        Revoked::Session(_) => {
            execute(transaction, sql::END_SESSION, &[&realm, &id, &now])?;
        }
        Revoked::Grant(_) => {
            execute(transaction, sql::END_GRANT, &[&realm, &id, &now])?;
            execute(transaction, sql::END_FAMILIES_OF_GRANT, &[&realm, &id, &now])?;
        }
        Revoked::Family(_) => {
            execute(transaction, sql::END_FAMILY, &[&realm, &id, &now])?;
        }
        Revoked::Token(_) => {}
        Revoked::Person { .. } => {
            execute(transaction, sql::END_SESSIONS_BEFORE, &[&realm, &id, &now, &epoch])?;
            execute(transaction, sql::RAISE_EPOCH, &[&realm, &id, &now, &epoch])?;
        }
    }
    let end = expires_at.unix_millis();
    execute(transaction, sql::RECORD_REVOCATION, &[&realm, &kind, &id, &epoch, &end])?;
    Ok(())
}
