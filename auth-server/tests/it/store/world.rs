//! A database with a realm, and short ways to do usual things in it.

use std::sync::Arc;
use std::time::Duration;

use auth_server::store::people::NewPerson;
use auth_server::store::{Database, Extent};
use oidc::config::IdentifierKind;
use oidc::id::{FamilyId, FlowId, GrantId, PersonId, RealmId, RequestId, SessionId, TokenId};
use oidc::person::Profile;
use oidc::revocation::Revoked;
use oidc::store::{
    AttemptOutcome, CodeRedemption, CompletedLogin, LoginOutcome, NewFamily, PasswordAttempt, RedemptionOutcome,
    RefreshRotation, RotationOutcome,
};
use oidc::{Secret, Timestamp};
use uuid::Uuid;

use crate::database::TestDatabase;

pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const LEEWAY: Duration = Duration::from_secs(10);
pub(super) const CLIENT: &str = "shop";
pub(super) const SOURCE: &str = "192.0.2.1";

/// What a test works with. The clock stands still unless a test moves it.
pub(super) struct World<'a> {
    pub(super) made: &'a TestDatabase,
    pub(super) database: Arc<dyn Database>,
    pub(super) realm: RealmId,
    pub(super) now: Timestamp,
}

/// Someone who signed in.
#[derive(Clone, Copy)]
pub(super) struct SignedIn {
    pub(super) person: PersonId,
    pub(super) session: SessionId,
}

impl<'a> World<'a> {
    pub(super) fn new(made: &'a TestDatabase) -> Self {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Self {
            made,
            database: made.database.clone(),
            realm: RealmId(Uuid::new_v4()),
            now: Timestamp::from_unix_millis(0).after(since),
        }
    }

    pub(super) async fn person(&self, username: &str) -> PersonId {
        let profile = Profile {
            email: Some(format!("{username}@Example.org")),
            phone_number: Some(format!("+49 30 {}", username.len())),
            ..Profile::default()
        };
        self.person_with(username, &profile).await
    }

    pub(super) async fn person_with(&self, username: &str, profile: &Profile) -> PersonId {
        let hash = Secret::new("$argon2id$first".to_owned());
        let person = NewPerson {
            id: PersonId(Uuid::new_v4()),
            username,
            groups: &["staff".to_owned()],
            profile,
            password_hash: Some(&hash),
            now: self.now,
        };
        self.database.create_person(self.realm, person).await.unwrap()
    }

    pub(super) async fn attempt(&self, identifier: &str) -> AttemptOutcome {
        let kinds = [IdentifierKind::Username, IdentifierKind::Email, IdentifierKind::Phone];
        self.database
            .begin_password_attempt(self.realm, self.attempt_of(identifier, &kinds))
            .await
            .unwrap()
    }

    pub(super) fn attempt_of<'b>(&self, identifier: &'b str, kinds: &'b [IdentifierKind]) -> PasswordAttempt<'b> {
        PasswordAttempt {
            identifier,
            kinds,
            source: SOURCE,
            max_attempts: 10,
            window: HOUR,
            now: self.now,
        }
    }

    pub(super) fn login_of(&self, person: PersonId, session: SessionId) -> CompletedLogin<'static> {
        CompletedLogin {
            flow: FlowId(Uuid::new_v4()),
            flow_expires_at: self.now.after(HOUR),
            person,
            epoch: 1,
            session,
            session_expires_at: self.now.after(8 * HOUR),
            identifier: "ada",
            source: SOURCE,
            device: "a browser",
            new_password_hash: None,
            now: self.now,
        }
    }

    pub(super) async fn login(&self, login: CompletedLogin<'_>) -> LoginOutcome {
        self.database.complete_login(self.realm, login).await.unwrap()
    }

    /// A new person with a session.
    pub(super) async fn signed_in(&self, username: &str) -> SignedIn {
        let person = self.person(username).await;
        self.session_of(person).await
    }

    pub(super) async fn session_of(&self, person: PersonId) -> SignedIn {
        let session = SessionId(Uuid::new_v4());
        let outcome = self.login(self.login_of(person, session)).await;
        assert_eq!(outcome, LoginOutcome::Recorded);
        SignedIn { person, session }
    }

    pub(super) fn code_of(&self, who: SignedIn) -> CodeRedemption<'static> {
        CodeRedemption {
            code: TokenId(Uuid::new_v4()),
            code_expires_at: self.now.after(HOUR),
            request: RequestId(Uuid::new_v4()),
            grant: GrantId(Uuid::new_v4()),
            client_id: CLIENT,
            person: who.person,
            epoch: 1,
            session: who.session,
            scopes: &[],
            family: Some(NewFamily {
                id: FamilyId(Uuid::new_v4()),
                expires_at: self.now.after(24 * HOUR),
                offline: false,
            }),
            now: self.now,
        }
    }

    pub(super) async fn redeem(&self, code: CodeRedemption<'_>) -> RedemptionOutcome {
        self.database.redeem_code(self.realm, code).await.unwrap()
    }

    /// A new family of that person, from a redeemed code.
    pub(super) async fn family(&self, who: SignedIn, offline: bool) -> (FamilyId, GrantId) {
        let mut code = self.code_of(who);
        let mut family = code.family.unwrap();
        family.offline = offline;
        code.family = Some(family);
        let outcome = self.redeem(code).await;
        assert!(matches!(outcome, RedemptionOutcome::Redeemed(_)), "{outcome:?}");
        (family.id, code.grant)
    }

    pub(super) fn rotation_of(&self, family: FamilyId, sequence: i64) -> RefreshRotation<'static> {
        RefreshRotation {
            family,
            sequence,
            client_id: CLIENT,
            rotate: true,
            leeway: LEEWAY,
            idle: 2 * HOUR,
            now: self.now,
        }
    }

    pub(super) async fn rotate(&self, rotation: RefreshRotation<'_>) -> Rotated {
        match self.database.rotate_refresh(self.realm, rotation).await.unwrap() {
            RotationOutcome::Rotated { sequence, .. } => Rotated::To(sequence),
            RotationOutcome::Replayed => Rotated::Replayed,
            RotationOutcome::NotAuthorized => Rotated::NotAuthorized,
        }
    }

    /// Everything the feed would read.
    pub(super) async fn recorded(&self) -> Vec<Revoked> {
        let read = self.database.read_revocations(Extent::Everything).await.unwrap();
        read.revocations.into_iter().map(|revocation| revocation.what).collect()
    }
}

/// A `RotationOutcome` that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotated {
    To(i64),
    Replayed,
    NotAuthorized,
}

/// Polls until `done`, at most so long.
pub(super) async fn within(limit: Duration, what: &str, mut done: impl AsyncFnMut() -> bool) -> Duration {
    let began = std::time::Instant::now();
    while !done().await {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}
