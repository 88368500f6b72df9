-- Types are PostgreSQL's; SQLite stores what it is given. Moments are milliseconds since 1970, JSON is text.
-- Every table carries the realm. A table with an end has an index on it for housekeeping; nothing that a refresh
-- updates is indexed.

create table person (
    realm uuid not null,
    id uuid not null,
    username text not null,
    username_key text not null,
    email_key text,
    phone_key text,
    state smallint not null,
    epoch integer not null,
    groups text not null,
    profile text not null,
    password_hash text,
    updated_at bigint not null,
    primary key (realm, id)
);
create unique index person_username on person (realm, username_key);
create unique index person_email on person (realm, email_key);
create unique index person_phone on person (realm, phone_key);

create table session (
    realm uuid not null,
    id uuid not null,
    person uuid not null,
    epoch integer not null,
    device text not null,
    created_at bigint not null,
    seen_at bigint not null,
    ended_at bigint,
    expires_at bigint not null,
    primary key (realm, id)
);
create index session_person on session (realm, person);
create index session_expiry on session (expires_at);

create table session_client (
    realm uuid not null,
    session uuid not null,
    client_id text not null,
    expires_at bigint not null,
    primary key (realm, session, client_id)
);
create index session_client_expiry on session_client (expires_at);

create table login_attempt (
    realm uuid not null,
    counter bytea not null,
    attempts integer not null,
    expires_at bigint not null,
    primary key (realm, counter)
);
create index login_attempt_expiry on login_attempt (expires_at);

create table login_step (
    realm uuid not null,
    flow uuid not null,
    marker uuid not null,
    session uuid not null,
    expires_at bigint not null,
    primary key (realm, flow)
);
create index login_step_expiry on login_step (expires_at);

create table spent_code (
    realm uuid not null,
    code uuid not null,
    request uuid not null,
    grant_id uuid not null,
    expires_at bigint not null,
    primary key (realm, code)
);
create index spent_code_expiry on spent_code (expires_at);

create table grant_ (
    realm uuid not null,
    id uuid not null,
    person uuid not null,
    session uuid not null,
    client_id text not null,
    scopes text not null,
    created_at bigint not null,
    revoked_at bigint,
    expires_at bigint not null,
    primary key (realm, id)
);
create index grant_person on grant_ (realm, person);
create index grant_expiry on grant_ (expires_at);

create table refresh_family (
    realm uuid not null,
    id uuid not null,
    grant_id uuid not null,
    person uuid not null,
    epoch integer not null,
    session uuid not null,
    client_id text not null,
    offline boolean not null,
    seq bigint not null,
    rotated_at bigint not null,
    used_at bigint not null,
    revoked_at bigint,
    expires_at bigint not null,
    primary key (realm, id)
);
create index refresh_family_grant on refresh_family (realm, grant_id);
create index refresh_family_person on refresh_family (realm, person);
create index refresh_family_expiry on refresh_family (expires_at);

create table revocation (
    realm uuid not null,
    kind smallint not null,
    id uuid not null,
    epoch integer not null,
    recorded_at bigint not null,
    expires_at bigint not null,
    primary key (realm, kind, id)
);
create index revocation_recorded on revocation (recorded_at);
create index revocation_expiry on revocation (expires_at);

create table consent (
    realm uuid not null,
    person uuid not null,
    client_id text not null,
    scope text not null,
    granted_at bigint not null,
    primary key (realm, person, client_id, scope)
);

create table use_once (
    realm uuid not null,
    proof bytea not null,
    expires_at bigint not null,
    primary key (realm, proof)
);
create index use_once_expiry on use_once (expires_at);

create table kept_request (
    realm uuid not null,
    id uuid not null,
    request bytea not null,
    expires_at bigint not null,
    primary key (realm, id)
);
create index kept_request_expiry on kept_request (expires_at);
