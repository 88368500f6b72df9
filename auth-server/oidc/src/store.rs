//! The store port: everything the protocol needs from a database, one method per atomic operation.
//!
//! Two drivers implement it (PostgreSQL and SQLite, in `auth-server`), and one conformance suite holds both to the
//! promises below. Every method is scoped to one realm; no query crosses realms. A method that spends a single-use
//! value does so atomically before anything is issued for it.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::{FamilyId, FlowId, GrantId, PersonId, RealmId, RequestId, SessionId, TokenId};
use crate::person::Person;
use crate::revocation::Revocation;
use crate::{Secret, Timestamp};

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, overloaded, or failing over: try again later. Clients see 503 with `Retry-After`.
    #[error("store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store holds something it cannot hold, or refused a statement: a defect. Clients see 503 as well.
    #[error("store is inconsistent")]
    Inconsistent(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The port. Times come from the caller; the drivers' own clock is used for nothing but the feed.
#[async_trait]
pub trait Store: Send + Sync {
    /// Counts a password attempt before its password is hashed, and finds the person it names.
    async fn begin_password_attempt(
        &self,
        realm: RealmId,
        attempt: PasswordAttempt<'_>,
    ) -> Result<AttemptOutcome, StoreError>;

    /// Spends the flow's password step, refunds the attempt, and records the session, all or nothing.
    async fn complete_login(&self, realm: RealmId, login: CompletedLogin<'_>) -> Result<LoginOutcome, StoreError>;

    /// One person by primary key.
    async fn person(&self, realm: RealmId, person: PersonId) -> Result<Option<Person>, StoreError>;

    /// The scopes that `person` has allowed `client_id` before; empty when never asked.
    async fn consented_scopes(
        &self,
        realm: RealmId,
        person: PersonId,
        client_id: &str,
    ) -> Result<Vec<String>, StoreError>;

    /// Remembers that `person` allowed `client_id` these scopes, in addition to earlier ones.
    async fn remember_consent(
        &self,
        realm: RealmId,
        person: PersonId,
        client_id: &str,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Spends an authorization code and records what is granted, in one round trip. Re-checks session, epoch and person.
    async fn redeem_code(
        &self,
        realm: RealmId,
        redemption: CodeRedemption<'_>,
    ) -> Result<RedemptionOutcome, StoreError>;

    /// Moves a refresh family forward, in one statement. Re-checks family, session, epoch and person.
    async fn rotate_refresh(
        &self,
        realm: RealmId,
        rotation: RefreshRotation<'_>,
    ) -> Result<RotationOutcome, StoreError>;

    /// The sequence number that a refresh family is at; `None` when it is unknown, revoked, expired, or was not used
    /// for `idle`. Changes nothing.
    async fn refresh_sequence(
        &self,
        realm: RealmId,
        family: FamilyId,
        idle: Duration,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError>;

    /// Records revocations, and ends what they name in the tables: a session with its families (but `offline_access`
    /// ones), a grant with its families, a family. Repeating it is harmless.
    async fn revoke(&self, realm: RealmId, revocations: &[Revocation], now: Timestamp) -> Result<(), StoreError>;

    /// Records a `jti` that may be used once before `expires_at`. `false`: it was used before (RFC 7523 §3).
    async fn use_once(
        &self,
        realm: RealmId,
        audience: &str,
        jti: &str,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Keeps an authorization request that is too large to travel in a form.
    async fn keep_request(
        &self,
        realm: RealmId,
        id: FlowId,
        request: &[u8],
        expires_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// An authorization request kept before; `None` when unknown or expired at `now`.
    async fn kept_request(&self, realm: RealmId, id: FlowId, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A password attempt.
#[derive(Clone, Copy, Debug)]
pub struct PasswordAttempt<'a> {
    /// What was typed, trimmed; drivers compare user names and e-mail addresses without case.
    pub identifier: &'a str,
    /// Which columns it may name.
    pub kinds: &'a [crate::config::IdentifierKind],
    /// Where the request came from (an address, or a network), the other half of the counter's key.
    pub source: &'a str,
    /// Attempts allowed within `window`.
    pub max_attempts: u32,
    /// The counting window.
    pub window: Duration,
    /// The moment of the attempt.
    pub now: Timestamp,
}

/// What a password attempt found.
#[derive(Clone, Debug)]
pub enum AttemptOutcome {
    /// Counted. The person, when there is one with a password.
    Counted(Option<Box<PersonWithPassword>>),
    /// Too many attempts; nothing was looked up.
    TooMany {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// A person with the stored password hash.
#[derive(Clone, Debug)]
pub struct PersonWithPassword {
    /// The person.
    pub person: Person,
    /// PHC string.
    pub password_hash: Secret<String>,
}

/// A login whose password was right.
#[derive(Clone, Copy, Debug)]
pub struct CompletedLogin<'a> {
    /// The login in progress; its password step is spent by this call.
    pub flow: FlowId,
    /// When the spent step may be forgotten.
    pub flow_expires_at: Timestamp,
    /// Who signed in, under which epoch.
    pub person: PersonId,
    /// The epoch the person had when the password was checked.
    pub epoch: i32,
    /// The session that begins (or goes on, when the same person re-authenticates).
    pub session: SessionId,
    /// The session's absolute end.
    pub session_expires_at: Timestamp,
    /// What was typed, to refund the attempt.
    pub identifier: &'a str,
    /// Where the attempt came from, to refund it.
    pub source: &'a str,
    /// Shown in "your sessions": user agent, at most 256 characters.
    pub device: &'a str,
    /// A hash with today's parameters, when the stored one is weaker.
    pub new_password_hash: Option<&'a Secret<String>>,
    /// The moment of the login.
    pub now: Timestamp,
}

/// What became of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The session is recorded.
    Recorded,
    /// The step was spent before: a double submit. Nothing was recorded; the session it made is named.
    AlreadySpent {
        /// The session of the first submit.
        session: SessionId,
    },
    /// The person was disabled or moved to another epoch meanwhile, or the session was ended before.
    PersonChanged,
}

/// The redemption of a code whose sealed content was already checked.
#[derive(Clone, Copy, Debug)]
pub struct CodeRedemption<'a> {
    /// The code's own id; unique among spent ones.
    pub code: TokenId,
    /// When the spent row may be forgotten (code expiry + the longest access lifetime it could have led to).
    pub code_expires_at: Timestamp,
    /// This HTTP request, so that a retry of the same statement is not taken for reuse.
    pub request: RequestId,
    /// Everything issued for the code carries it.
    pub grant: GrantId,
    /// Who redeems.
    pub client_id: &'a str,
    /// Who granted, under which epoch.
    pub person: PersonId,
    /// The epoch at the time of authorization.
    pub epoch: i32,
    /// The browser session of the authorization; gets the client added to it.
    pub session: SessionId,
    /// The scopes granted.
    pub scopes: &'a [String],
    /// The refresh family to begin, when one is granted.
    pub family: Option<NewFamily>,
    /// The moment of the redemption.
    pub now: Timestamp,
}

/// A refresh family to begin.
#[derive(Clone, Copy, Debug)]
pub struct NewFamily {
    /// Its id.
    pub id: FamilyId,
    /// Its end, whatever its use.
    pub expires_at: Timestamp,
    /// Whether it outlives the session (`offline_access`).
    pub offline: bool,
}

/// What became of a code.
#[derive(Clone, Debug)]
pub enum RedemptionOutcome {
    /// Spent now (or by the same request before a lost reply). The person as stored.
    Redeemed(Box<Person>),
    /// Spent before by another request: everything issued for `grant` must be revoked.
    Replayed {
        /// The grant of the first redemption.
        grant: GrantId,
    },
    /// Session ended, epoch moved, or person disabled or gone.
    NotAuthorized,
}

/// A refresh with an authentic token.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRotation<'a> {
    /// The family.
    pub family: FamilyId,
    /// The sequence number the token carries.
    pub sequence: i64,
    /// Who refreshes; must be the family's client.
    pub client_id: &'a str,
    /// Whether a new sequence number is wanted (`false`: check and touch only).
    pub rotate: bool,
    /// How long the predecessor still yields the same successor.
    pub leeway: Duration,
    /// Since the last use.
    pub idle: Duration,
    /// The moment of the refresh.
    pub now: Timestamp,
}

/// What became of a refresh.
#[derive(Clone, Debug)]
pub enum RotationOutcome {
    /// Go on with this sequence number: a new one, or within the leeway the same successor as before.
    Rotated {
        /// The sequence number of the token to hand out.
        sequence: i64,
        /// The person as stored.
        person: Box<Person>,
    },
    /// An older token: the family was revoked by this statement.
    Replayed,
    /// Unknown, revoked, expired, idle for too long, another client's, or the person changed.
    NotAuthorized,
}
