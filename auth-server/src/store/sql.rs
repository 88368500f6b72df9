//! Statements that both databases understand. Parameters are `$1`, `$2`, …; SQLite takes them as names.
//!
//! What only one of them understands (data-modifying CTEs here, transactions of small statements there) is with its driver.

/// The columns of a person, in the order of `rows::PersonRow`.
macro_rules! person_columns {
    () => {
        "p.id, p.username, p.state, p.epoch, p.groups, p.profile, p.updated_at"
    };
}
pub(super) use person_columns;

pub(super) const SCHEMA_TABLE: &str = "create table if not exists schema_version (
    level integer primary key, usable_from integer not null)";

pub(super) const SCHEMA_LEVEL: &str = "select level, usable_from from schema_version order by level desc limit 1";

pub(super) const SCHEMA_APPLIED: &str = "insert into schema_version (level, usable_from) values ($1, $2)";

pub(super) const PERSON: &str = concat!(
    "select ",
    person_columns!(),
    " from person p where p.realm = $1 and p.id = $2"
);

pub(super) const PEOPLE: &str = concat!(
    "select ",
    person_columns!(),
    " from person p where p.realm = $1 and p.username_key > $2 order by p.username_key limit $3"
);

pub(super) const CONSENTED_SCOPES: &str =
    "select scope from consent where realm = $1 and person = $2 and client_id = $3 order by scope";

/// Realm, family, now, idle: what would be refreshed now.
pub(super) const REFRESH_SEQUENCE: &str = "select f.seq from refresh_family f
    where f.realm = $1 and f.id = $2 and f.revoked_at is null and f.expires_at > $3 and f.used_at > $3 - $4
        and exists (select 1 from person p
            where p.realm = $1 and p.id = f.person and p.epoch = f.epoch and p.state = 0)
        and (f.offline or exists (select 1 from session s
            where s.realm = $1 and s.id = f.session and s.ended_at is null and s.expires_at > $3))";

pub(super) const USE_ONCE: &str =
    "insert into use_once (realm, proof, expires_at) values ($1, $2, $3) on conflict do nothing returning 1";

pub(super) const KEEP_REQUEST: &str =
    "insert into kept_request (realm, id, request, expires_at) values ($1, $2, $3, $4) on conflict do nothing";

pub(super) const KEPT_REQUEST: &str =
    "select request from kept_request where realm = $1 and id = $2 and expires_at > $3";

/// Who already uses one of these names: 0 the user name, 1 the e-mail address, 2 the phone number. A user name that is
/// another person's e-mail address (or the other way round) would let one person sign in under the other's name.
pub(super) const NAME_TAKEN: &str = "select case when username_key = $2 or email_key = $2 then 0
        when email_key = $3 or username_key = $3 then 1 else 2 end
    from person where realm = $1
        and (username_key in ($2, $3) or email_key in ($2, $3) or phone_key = $4)
    order by 1 limit 1";

pub(super) const CREATE_PERSON: &str = "insert into person (realm, id, username, username_key, email_key, phone_key,
        state, epoch, groups, profile, password_hash, updated_at)
    values ($1, $2, $3, $4, $5, $6, 0, 1, $7, $8, $9, $10) on conflict do nothing";

pub(super) const SET_PASSWORD: &str = "update person set epoch = epoch + 1, password_hash = $3, updated_at = $4
    where realm = $1 and username_key = $2 returning id, epoch";

pub(super) const SET_STATE: &str = "update person set epoch = epoch + 1, state = $3, updated_at = $4
    where realm = $1 and username_key = $2 returning id, epoch";

pub(super) const DELETE_PERSON: &str =
    "delete from person where realm = $1 and username_key = $2 returning id, epoch + 1";

/// The end of the last session of a person that still lives.
pub(super) const LAST_SESSION_END: &str =
    "select max(expires_at) from session where realm = $1 and person = $2 and ended_at is null";

pub(super) const END_SESSIONS: &str =
    "update session set ended_at = $3 where realm = $1 and person = $2 and ended_at is null";

/// A session that began, or a refresh token that was used, after a moment.
pub(super) const USED_SINCE: &str = "select exists (select 1 from session s where s.realm = $1 and s.created_at > $2)
    or exists (select 1 from refresh_family f where f.realm = $1 and f.used_at > $2)";

/// Every table, in the order in which the rows of a realm are deleted: what is left of a realm that comes back in between
/// makes sense, and what was revoked stays revoked.
macro_rules! in_every_table {
    ($statement:ident) => {
        [
            $statement!("kept_request"),
            $statement!("login_attempt"),
            $statement!("login_step"),
            $statement!("spent_code"),
            $statement!("use_once"),
            $statement!("session_client"),
            $statement!("refresh_family"),
            $statement!("grant_"),
            $statement!("session"),
            $statement!("consent"),
            $statement!("person"),
            $statement!("revocation"),
        ]
    };
}
pub(super) use in_every_table;

/// What is erased with a person, beyond the row itself. The spent codes and revocations name nobody.
pub(super) const FORGET_PERSON: [&str; 5] = [
    "delete from session_client where realm = $1
        and session in (select id from session where realm = $1 and person = $2)",
    "delete from session where realm = $1 and person = $2",
    "delete from refresh_family where realm = $1 and person = $2",
    "delete from grant_ where realm = $1 and person = $2",
    "delete from consent where realm = $1 and person = $2",
];
