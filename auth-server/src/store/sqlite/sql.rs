//! Statements in SQLite's dialect. A promise of the port is a short transaction of these, because SQLite knows no
//! data-modifying CTE; it holds the write lock from its beginning, so nothing changes between two of them.

use crate::store::sql::{in_every_table, person_columns};

/// The clock in milliseconds.
macro_rules! clock {
    () => {
        "cast(unixepoch('subsec') * 1000 as integer)"
    };
}

pub(super) const HAS_SCHEMA: &str = "select 1 from sqlite_schema where type = 'table' and name = 'schema_version'";

/// Realm, counter, attempts allowed, now, end of the window.
pub(super) const COUNT_ATTEMPT: &str = "insert into login_attempt as a (realm, counter, attempts, expires_at)
    select $1, $2, 1, $5 where $3 > 0
    on conflict (realm, counter) do update set
        attempts = case when a.expires_at <= $4 then 1 else a.attempts + 1 end,
        expires_at = case when a.expires_at <= $4 then excluded.expires_at else a.expires_at end
    where a.expires_at <= $4 or a.attempts < $3
    returning attempts";

pub(super) const WINDOW_END: &str = "select expires_at from login_attempt where realm = $1 and counter = $2";

/// Realm, user name, e-mail address, phone number.
pub(super) const FIND_PERSON: &str = concat!(
    "select ",
    person_columns!(),
    ", p.password_hash from person p
    where p.realm = $1 and p.password_hash is not null
        and (p.username_key = $2 or p.email_key = $3 or p.phone_key = $4)
    order by p.username_key = $2 desc, p.email_key = $3 desc limit 1"
);

/// Realm, person, epoch, session: whether the person may sign in with it.
pub(super) const MAY_SIGN_IN: &str = "select 1 from person p
    where p.realm = $1 and p.id = $2 and p.epoch = $3 and p.state = 0
        and not exists (select 1 from session s where s.realm = $1 and s.id = $4
            and (s.ended_at is not null or s.person <> $2))";

pub(super) const SPENT_STEP: &str = "select session from login_step where realm = $1 and flow = $2";

pub(super) const SPEND_STEP: &str =
    "insert into login_step (realm, flow, marker, session, expires_at) values ($1, $2, $3, $3, $4)";

pub(super) const REFUND_ATTEMPT: &str =
    "update login_attempt set attempts = max(attempts - 1, 0) where realm = $1 and counter = $2";

/// Realm, session, person, epoch, device, now, end.
pub(super) const RECORD_SESSION: &str =
    "insert into session as s (realm, id, person, epoch, device, created_at, seen_at, expires_at)
    values ($1, $2, $3, $4, $5, $6, $6, $7)
    on conflict (realm, id) do update set epoch = excluded.epoch, seen_at = excluded.seen_at,
        expires_at = max(s.expires_at, excluded.expires_at)";

pub(super) const UPGRADE_HASH: &str =
    "update person set password_hash = $4 where realm = $1 and id = $2 and epoch = $3";

pub(super) const REMEMBER_CONSENT: &str = "insert into consent (realm, person, client_id, scope, granted_at)
    values ($1, $2, $3, $4, $5) on conflict do nothing";

/// Realm, person, epoch, session, now.
pub(super) const WHO_GRANTED: &str = concat!(
    "select ",
    person_columns!(),
    ", s.expires_at from person p join session s on s.realm = p.realm and s.person = p.id
    where p.realm = $1 and p.id = $2 and p.epoch = $3 and p.state = 0
        and s.realm = $1 and s.id = $4 and s.ended_at is null and s.expires_at > $5"
);

/// Realm, code, request, grant, end.
pub(super) const SPEND_CODE: &str = "insert into spent_code (realm, code, request, grant_id, expires_at)
    values ($1, $2, $3, $4, $5) on conflict do nothing";

pub(super) const SPENT_CODE: &str = "select request, grant_id from spent_code where realm = $1 and code = $2";

/// Realm, grant, person, session, client, scopes, now, end.
pub(super) const RECORD_GRANT: &str =
    "insert into grant_ (realm, id, person, session, client_id, scopes, created_at, expires_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing";

/// Realm, family, grant, person, epoch, session, client, offline, now, end.
pub(super) const BEGIN_FAMILY: &str = "insert into refresh_family (realm, id, grant_id, person, epoch, session,
        client_id, offline, seq, rotated_at, used_at, expires_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $9, $10) on conflict do nothing";

/// Realm, session, client, end.
pub(super) const KNOW_CLIENT: &str = "insert into session_client (realm, session, client_id, expires_at)
    values ($1, $2, $3, $4) on conflict do nothing";

/// Realm, family, client, sequence, rotate, leeway, idle, now.
pub(super) const ROTATE_REFRESH: &str = "update refresh_family as f set
        seq = case when $4 < f.seq then f.seq when $5 then $4 + 1 else $4 end,
        rotated_at = case when $4 >= f.seq and $5 then $8 else f.rotated_at end,
        used_at = max(f.used_at, $8),
        revoked_at = case
            when $4 >= f.seq then null
            when $4 = f.seq - 1 and max($8 - f.rotated_at, 0) < $6 then null
            else $8 end
    where f.realm = $1 and f.id = $2 and f.client_id = $3
        and f.revoked_at is null and f.expires_at > $8 and f.used_at > $8 - $7
        and exists (select 1 from person p
            where p.realm = $1 and p.id = f.person and p.epoch = f.epoch and p.state = 0)
        and (f.offline or exists (select 1 from session s
            where s.realm = $1 and s.id = f.session and s.ended_at is null and s.expires_at > $8))
    returning seq, revoked_at is not null, expires_at, person";

/// Realm, kind, id, epoch, end.
pub(super) const RECORD_REVOCATION: &str = concat!(
    "insert into revocation as r (realm, kind, id, epoch, recorded_at, expires_at)
    values ($1, $2, $3, $4, ",
    clock!(),
    ", $5)
    on conflict (realm, kind, id) do update set epoch = max(r.epoch, excluded.epoch),
        recorded_at = excluded.recorded_at, expires_at = max(r.expires_at, excluded.expires_at)"
);

/// Realm, session, now.
pub(super) const END_SESSION: &str =
    "update session set ended_at = $3 where realm = $1 and id = $2 and ended_at is null";

/// Realm, grant, now.
pub(super) const END_GRANT: &str =
    "update grant_ set revoked_at = $3 where realm = $1 and id = $2 and revoked_at is null";

/// Realm, grant, now.
pub(super) const END_FAMILIES_OF_GRANT: &str =
    "update refresh_family set revoked_at = $3 where realm = $1 and grant_id = $2 and revoked_at is null";

/// Realm, family, now.
pub(super) const END_FAMILY: &str =
    "update refresh_family set revoked_at = $3 where realm = $1 and id = $2 and revoked_at is null";

/// Realm, person, now, epoch.
pub(super) const END_SESSIONS_BEFORE: &str = "update session set ended_at = $3
    where realm = $1 and person = $2 and ended_at is null and epoch < $4";

/// Realm, person, now, epoch.
pub(super) const RAISE_EPOCH: &str =
    "update person set epoch = $4, updated_at = $3 where realm = $1 and id = $2 and epoch < $4";

/// All realms: how far back.
pub(super) const READ_LAST: &str = concat!(
    "select kind, id, epoch, expires_at from revocation where recorded_at > ",
    clock!(),
    " - $1"
);

/// All realms, everything that has not expired.
pub(super) const READ_EVERYTHING: &str = concat!(
    "select kind, id, epoch, expires_at from revocation where expires_at > ",
    clock!(),
    " - $1"
);

pub(super) const CLOCK: &str = concat!("select ", clock!());

macro_rules! delete_expired {
    ($table:literal) => {
        concat!(
            "delete from ",
            $table,
            " where rowid in (select rowid from ",
            $table,
            " where expires_at < $1 order by expires_at limit $2)"
        )
    };
}

/// All realms: end, most rows.
pub(super) const DELETE_EXPIRED: [&str; 9] = [
    delete_expired!("login_attempt"),
    delete_expired!("login_step"),
    delete_expired!("spent_code"),
    delete_expired!("refresh_family"),
    delete_expired!("grant_"),
    delete_expired!("session_client"),
    delete_expired!("session"),
    delete_expired!("use_once"),
    delete_expired!("kept_request"),
];

/// All realms: revocations go last, and later, because other processes read them.
pub(super) const DELETE_REVOCATIONS: &str = delete_expired!("revocation");

/// A table, and its statement.
macro_rules! erase {
    ($table:literal) => {
        (
            $table,
            concat!(
                "delete from ",
                $table,
                " where realm = $1 and rowid in (select t.rowid from ",
                $table,
                " t where t.realm = $1 limit $2)"
            ),
        )
    };
}

/// Realm, most rows.
pub(super) const ERASE: [(&str, &str); 12] = in_every_table!(erase);
