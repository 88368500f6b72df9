//! Statements that only PostgreSQL understands: one round trip for each promise of the port.
//!
//! In a statement with data-modifying CTEs all parts see the same snapshot, so a part never reads what another one
//! wrote; what must be decided on the newest row is decided inside the one `INSERT … ON CONFLICT` or `UPDATE` that locks it.

use crate::store::sql::{in_every_table, person_columns};

/// The database's clock in milliseconds, at this point of the statement (not at its transaction's begin).
macro_rules! clock {
    () => {
        "(extract(epoch from clock_timestamp()) * 1000)::bigint"
    };
}

/// The database's clock at the begin of the statement: a constant while it runs, so that an index can be used.
macro_rules! statement_clock {
    () => {
        "(extract(epoch from statement_timestamp()) * 1000)::bigint"
    };
}

/// Realm, counter, attempts allowed, now, end of the window, user name, e-mail address, phone number.
/// An attempt beyond the limit updates nothing, so that refunds stay exact; then the end of the window is read.
pub(super) const BEGIN_ATTEMPT: &str = concat!(
    "with counted as (
        insert into login_attempt as a (realm, counter, attempts, expires_at)
        select $1::uuid, $2::bytea, 1, $5::bigint where $3::integer > 0
        on conflict (realm, counter) do update set
            attempts = case when a.expires_at <= $4::bigint then 1 else a.attempts + 1 end,
            expires_at = case when a.expires_at <= $4 then excluded.expires_at else a.expires_at end
        where a.expires_at <= $4 or a.attempts < $3
        returning a.attempts
    )
    select c.attempts, h.password_hash,
        (select t.expires_at from login_attempt t where t.realm = $1 and t.counter = $2) as window_ends_at, ",
    "h.id, h.username, h.state, h.epoch, h.groups, h.profile, h.updated_at",
    " from (select 1) one
    left join counted c on true
    left join lateral (
        select p.password_hash, ",
    person_columns!(),
    " from person p
        where c.attempts is not null and p.realm = $1 and p.password_hash is not null
            and (p.username_key = $6::text or p.email_key = $7::text or p.phone_key = $8::text)
        order by p.username_key = $6 desc nulls last, p.email_key = $7 desc nulls last limit 1
    ) h on true"
);

/// Realm, flow, end of the flow, person, epoch, session, end of the session, counter, device, new hash, now, marker.
/// A step spent before keeps its row, and the row's marker tells whose it is.
pub(super) const COMPLETE_LOGIN: &str = "with who as (
        select p.id from person p
        where p.realm = $1::uuid and p.id = $4::uuid and p.epoch = $5::integer and p.state = 0
            and not exists (select 1 from session s where s.realm = $1 and s.id = $6::uuid
                and (s.ended_at is not null or s.person <> $4))
    ), step as (
        insert into login_step as t (realm, flow, marker, session, expires_at)
        select $1, $2::uuid, $12::uuid, $6, $3::bigint from who
        on conflict (realm, flow) do update set flow = t.flow
        returning t.marker, t.session
    ), refunded as (
        update login_attempt a set attempts = greatest(a.attempts - 1, 0) from step
        where a.realm = $1 and a.counter = $8::bytea and step.marker = $12
    ), recorded as (
        insert into session as s (realm, id, person, epoch, device, created_at, seen_at, expires_at)
        select $1, $6, $4, $5, $9::text, $11::bigint, $11, $7::bigint from step where step.marker = $12
        on conflict (realm, id) do update set epoch = excluded.epoch, seen_at = excluded.seen_at,
            expires_at = greatest(s.expires_at, excluded.expires_at)
    ), upgraded as (
        update person p set password_hash = $10::text from step
        where p.realm = $1 and p.id = $4 and p.epoch = $5 and $10::text is not null and step.marker = $12
    )
    select step.marker, step.session from step";

/// Realm, code, end of the spent row, request, grant, client, person, epoch, session, scopes (JSON), now,
/// family (or null), end of the family, offline.
pub(super) const REDEEM_CODE: &str = concat!(
    "with who as (
        select ",
    person_columns!(),
    ", s.expires_at as session_expires_at from person p join session s on s.realm = p.realm and s.person = p.id
        where p.realm = $1::uuid and p.id = $7::uuid and p.epoch = $8::integer and p.state = 0
            and s.realm = $1 and s.id = $9::uuid and s.ended_at is null and s.expires_at > $11::bigint
    ), spent as (
        insert into spent_code as c (realm, code, request, grant_id, expires_at)
        values ($1, $2::uuid, $4::uuid, $5::uuid, $3::bigint)
        on conflict (realm, code) do update set code = c.code
        returning c.request, c.grant_id
    ), granted as (
        insert into grant_ (realm, id, person, session, client_id, scopes, created_at, expires_at)
        select $1, $5, $7, $9, $6::text, $10::text, $11, greatest($3, $13::bigint)
        from spent, who where spent.request = $4
        on conflict do nothing
    ), begun as (
        insert into refresh_family (realm, id, grant_id, person, epoch, session, client_id, offline, seq,
            rotated_at, used_at, expires_at)
        select $1, $12::uuid, $5, $7, $8, $9, $6, $14::boolean, 0, $11, $11, $13
        from spent, who where spent.request = $4 and $12::uuid is not null
        on conflict do nothing
    ), known as (
        insert into session_client (realm, session, client_id, expires_at)
        select $1, $9, $6, who.session_expires_at from spent, who where spent.request = $4
        on conflict do nothing
    )
    select spent.request, spent.grant_id, who.id, who.username, who.state, who.epoch, who.groups, who.profile,
        who.updated_at
    from spent left join who on true"
);

/// Realm, family, client, sequence, rotate, leeway, idle, now, longest access lifetime.
/// The `UPDATE` decides on the newest version of the row: a caller who waited for another one is judged by what that one
/// left. It reads no earlier version of the row. What it decided is recorded for the feed by the same statement.
pub(super) const ROTATE_REFRESH: &str = concat!(
    "with moved as (
        update refresh_family f set
            seq = case when $4::bigint < f.seq then f.seq when $5::boolean then $4 + 1 else $4 end,
            rotated_at = case when $4 >= f.seq and $5 then $8::bigint else f.rotated_at end,
            used_at = greatest(f.used_at, $8),
            revoked_at = case
                when $4 >= f.seq then null
                when $4 = f.seq - 1 and greatest($8 - f.rotated_at, 0) < $6::bigint then null
                else $8 end
        from person p
        where f.realm = $1::uuid and f.id = $2::uuid and f.client_id = $3::text
            and f.revoked_at is null and f.expires_at > $8 and f.used_at > $8 - $7::bigint
            and p.realm = $1 and p.id = f.person and p.epoch = f.epoch and p.state = 0
            and (f.offline or coalesce((select s.ended_at is null and s.expires_at > $8 from session s
                where s.realm = $1 and s.id = f.session), false))
        returning f.id as family, f.seq, f.revoked_at, f.expires_at, ",
    person_columns!(),
    "), recorded as (
        insert into revocation as r (realm, kind, id, epoch, recorded_at, expires_at)
        select $1, 2, moved.family, 0, ",
    clock!(),
    ", greatest(moved.expires_at, $8 + $9::bigint) from moved where moved.revoked_at is not null
        on conflict (realm, kind, id) do update set recorded_at = excluded.recorded_at,
            expires_at = greatest(r.expires_at, excluded.expires_at)
        returning pg_notify('nauthera_revocation', '')
    )
    select seq, revoked_at is not null as replayed, id, username, state, epoch, groups, profile, updated_at from moved"
);

/// Realm, kinds, ids, epochs, ends, now.
pub(super) const REVOKE: &str = concat!(
    "with given as (
        select g.kind, g.id, max(g.epoch) as epoch, max(g.expires_at) as expires_at
        from unnest($2::smallint[], $3::uuid[], $4::integer[], $5::bigint[]) as g (kind, id, epoch, expires_at)
        group by g.kind, g.id
    ), sessions as (
        update session s set ended_at = $6::bigint from given g
        where s.realm = $1::uuid and s.ended_at is null and g.kind = 0 and s.id = g.id
    ), sessions_of_people as (
        update session s set ended_at = $6 from given g
        where s.realm = $1 and s.ended_at is null and g.kind = 4 and s.person = g.id and s.epoch < g.epoch
            and not exists (select 1 from given h where h.kind = 0 and h.id = s.id)
    ), grants as (
        update grant_ t set revoked_at = $6 from given g
        where t.realm = $1 and t.revoked_at is null and g.kind = 1 and t.id = g.id
    ), families_of_grants as (
        update refresh_family f set revoked_at = $6 from given g
        where f.realm = $1 and f.revoked_at is null and g.kind = 1 and f.grant_id = g.id
            and not exists (select 1 from given h where h.kind = 2 and h.id = f.id)
    ), families as (
        update refresh_family f set revoked_at = $6 from given g
        where f.realm = $1 and f.revoked_at is null and g.kind = 2 and f.id = g.id
    ), people as (
        update person p set epoch = g.epoch, updated_at = $6 from given g
        where p.realm = $1 and g.kind = 4 and p.id = g.id and p.epoch < g.epoch
    )
    insert into revocation as r (realm, kind, id, epoch, recorded_at, expires_at)
    select $1, g.kind, g.id, g.epoch, ",
    clock!(),
    ", g.expires_at from given g
    on conflict (realm, kind, id) do update set epoch = greatest(r.epoch, excluded.epoch),
        recorded_at = excluded.recorded_at, expires_at = greatest(r.expires_at, excluded.expires_at)
    returning pg_notify('nauthera_revocation', '')"
);

/// Realm, person, client, scopes, now.
pub(super) const REMEMBER_CONSENT: &str = "insert into consent (realm, person, client_id, scope, granted_at)
    select $1::uuid, $2::uuid, $3::text, wanted.scope, $5::bigint from unnest($4::text[]) as wanted (scope)
    on conflict do nothing";

/// Realm, person, epoch, now, end. What a change of a person records.
pub(super) const RECORD_PERSON: &str = concat!(
    "insert into revocation as r (realm, kind, id, epoch, recorded_at, expires_at)
    values ($1, 4, $2, $3, ",
    clock!(),
    ", $4)
    on conflict (realm, kind, id) do update set epoch = greatest(r.epoch, excluded.epoch),
        recorded_at = excluded.recorded_at, expires_at = greatest(r.expires_at, excluded.expires_at)
    returning pg_notify('nauthera_revocation', '')"
);

/// All realms: clock and incarnation in every row, a row of nulls when there is nothing.
pub(super) const READ_LAST: &str = concat!(
    "select c.clock, c.incarnation, r.kind, r.id, r.epoch, r.expires_at
    from (select ",
    statement_clock!(),
    " as clock, (extract(epoch from pg_postmaster_start_time()) * 1000)::bigint as incarnation) c
    left join revocation r on r.recorded_at > ",
    statement_clock!(),
    " - $1::bigint"
);

/// All realms, everything that has not expired.
pub(super) const READ_EVERYTHING: &str = concat!(
    "select c.clock, c.incarnation, r.kind, r.id, r.epoch, r.expires_at
    from (select ",
    statement_clock!(),
    " as clock, (extract(epoch from pg_postmaster_start_time()) * 1000)::bigint as incarnation) c
    left join revocation r on r.expires_at > c.clock - $1::bigint"
);

/// One statement for a table: only the replica that holds the lock deletes.
macro_rules! delete_expired {
    ($table:literal) => {
        concat!(
            "with gone as (delete from ",
            $table,
            " where ctid = any (array(select ctid from ",
            $table,
            " where (select pg_try_advisory_xact_lock(7310027104)) and expires_at < $1 order by expires_at limit $2)) returning 1)
            select count(*) as deleted from gone"
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

/// All realms: revocations go last, and later, because other replicas read them.
pub(super) const DELETE_REVOCATIONS: &str = delete_expired!("revocation");

/// A table, and its statement: only the replica that holds the lock deletes, and says so.
macro_rules! erase {
    ($table:literal) => {
        (
            $table,
            concat!(
                "with turn as materialized (select pg_try_advisory_xact_lock(7310027104) as is_ours),
                gone as (delete from ",
                $table,
                " where realm = $1 and ctid = any (array(select t.ctid from ",
                $table,
                " t where (select is_ours from turn) and t.realm = $1 limit $2)) returning 1)
                select (select is_ours from turn) as is_ours, (select count(*) from gone) as deleted"
            ),
        )
    };
}

/// Realm, most rows.
pub(super) const ERASE: [(&str, &str); 12] = in_every_table!(erase);

/// What each connection is set to. The feed's overlap relies on the time limit, the rotation on the isolation level.
pub(super) const SETTINGS: &str = "set statement_timeout = '10s'; set idle_in_transaction_session_timeout = '10s';
    set default_transaction_isolation = 'read committed'; set jit = off";

pub(super) const MIGRATION_LOCK: &str = "select pg_advisory_xact_lock(7310027103)";

/// Whether the schema was ever migrated.
pub(super) const HAS_SCHEMA: &str = "select to_regclass('schema_version') is not null";

pub(super) const LISTEN: &str = "listen nauthera_revocation";
