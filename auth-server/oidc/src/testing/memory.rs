//! A store in memory: the promises of the port in their simplest form, single-threaded behind one lock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;
use crate::id::{FamilyId, FlowId, GrantId, PersonId, RealmId, RequestId, SessionId, TokenId};
use crate::person::{Person, PersonState};
use crate::revocation::{Revocation, Revoked};
use crate::store::{
    AttemptOutcome, CodeRedemption, CompletedLogin, LoginOutcome, NewFamily, PasswordAttempt, PersonWithPassword,
    RedemptionOutcome, RefreshRotation, RotationOutcome, Store, StoreError,
};
use crate::{Secret, config::IdentifierKind};

/// A store in memory for one realm; realm ids are not looked at.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    people: Vec<PersonWithPassword>,
    attempts: HashMap<(String, String), u32>,
    spent_flows: HashMap<FlowId, SessionId>,
    spent_codes: HashMap<TokenId, (RequestId, GrantId)>,
    sessions: HashSet<SessionId>,
    families: HashMap<FamilyId, Family>,
    ended: HashSet<Revoked>,
    used: HashSet<(String, String)>,
    requests: HashMap<FlowId, (Vec<u8>, Timestamp)>,
    consents: BTreeMap<(PersonId, String), Vec<String>>,
    calls: Vec<&'static str>,
    down: bool,
}

#[derive(Clone, Debug)]
struct Family {
    client_id: String,
    person: PersonId,
    epoch: i32,
    grant: GrantId,
    session: Option<SessionId>,
    sequence: i64,
    expires_at: Timestamp,
    last_used: Timestamp,
    rotated_at: Timestamp,
}

impl MemoryStore {
    /// A store with one person, whose password hash is `hash:<username>`.
    pub fn with(person: Person) -> Self {
        let store = Self::default();
        store.add(person);
        store
    }

    /// Adds a person, or replaces the one of the same id.
    pub fn add(&self, person: Person) {
        let mut state = self.lock();
        state.people.retain(|known| known.person.id != person.id);
        let password_hash = Secret::new(format!("hash:{}", person.username));
        state.people.push(PersonWithPassword { person, password_hash });
    }

    /// Changes a person in place.
    pub fn change(&self, id: PersonId, change: impl FnOnce(&mut Person)) {
        let mut state = self.lock();
        if let Some(known) = state.people.iter_mut().find(|known| known.person.id == id) {
            change(&mut known.person);
        }
    }

    /// The names of the methods called since the last look, in order.
    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.lock().calls)
    }

    /// From now on every call answers that the store is unavailable, or no longer so.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Whether a revocation was recorded.
    pub fn has_ended(&self, what: Revoked) -> bool {
        self.lock().ended.contains(&what)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, name: &'static str) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.lock();
        state.calls.push(name);
        if state.down {
            return Err(StoreError::Unavailable("switched off by the test".into()));
        }
        Ok(state)
    }
}

impl State {
    fn person(&self, id: PersonId, epoch: i32) -> Option<&Person> {
        self.people
            .iter()
            .map(|known| &known.person)
            .find(|person| person.id == id && person.epoch == epoch && person.state == PersonState::Active)
    }

    fn family_lives(&self, id: FamilyId, family: &Family, idle: Duration, now: Timestamp) -> bool {
        let ended = |what| self.ended.contains(&what);
        family.expires_at > now
            && now.since(family.last_used) < idle
            && !ended(Revoked::Family(id))
            && !ended(Revoked::Grant(family.grant))
            && !family.session.is_some_and(|session| ended(Revoked::Session(session)))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn begin_password_attempt(
        &self,
        _realm: RealmId,
        attempt: PasswordAttempt<'_>,
    ) -> Result<AttemptOutcome, StoreError> {
        let mut state = self.call("begin_password_attempt")?;
        let key = (attempt.identifier.to_lowercase(), attempt.source.to_owned());
        let count = state.attempts.entry(key).or_default();
        if *count >= attempt.max_attempts {
            return Ok(AttemptOutcome::TooMany {
                retry_after: attempt.window,
            });
        }
        *count += 1;
        let matches = |known: &&PersonWithPassword| {
            attempt.kinds.iter().any(|kind| {
                let value = match kind {
                    IdentifierKind::Username => Some(known.person.username.as_str()),
                    IdentifierKind::Email => known.person.profile.email.as_deref(),
                    IdentifierKind::Phone => known.person.profile.phone_number.as_deref(),
                };
                value.is_some_and(|value| value.eq_ignore_ascii_case(attempt.identifier))
            })
        };
        Ok(AttemptOutcome::Counted(
            state.people.iter().find(matches).cloned().map(Box::new),
        ))
    }

    async fn complete_login(&self, _realm: RealmId, login: CompletedLogin<'_>) -> Result<LoginOutcome, StoreError> {
        let mut state = self.call("complete_login")?;
        if let Some(session) = state.spent_flows.get(&login.flow) {
            return Ok(LoginOutcome::AlreadySpent { session: *session });
        }
        if state.person(login.person, login.epoch).is_none() {
            return Ok(LoginOutcome::PersonChanged);
        }
        let key = (login.identifier.to_lowercase(), login.source.to_owned());
        state.attempts.remove(&key);
        state.spent_flows.insert(login.flow, login.session);
        state.sessions.insert(login.session);
        Ok(LoginOutcome::Recorded)
    }

    async fn person(&self, _realm: RealmId, person: PersonId) -> Result<Option<Person>, StoreError> {
        let state = self.call("person")?;
        let mut people = state.people.iter().map(|known| &known.person);
        Ok(people.find(|known| known.id == person).cloned())
    }

    async fn consented_scopes(
        &self,
        _realm: RealmId,
        person: PersonId,
        client_id: &str,
    ) -> Result<Vec<String>, StoreError> {
        let state = self.call("consented_scopes")?;
        Ok(state
            .consents
            .get(&(person, client_id.to_owned()))
            .cloned()
            .unwrap_or_default())
    }

    async fn remember_consent(
        &self,
        _realm: RealmId,
        person: PersonId,
        client_id: &str,
        scopes: &[String],
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.call("remember_consent")?;
        let consented = state.consents.entry((person, client_id.to_owned())).or_default();
        consented.extend(scopes.iter().cloned());
        consented.sort();
        consented.dedup();
        Ok(())
    }

    async fn redeem_code(
        &self,
        _realm: RealmId,
        redemption: CodeRedemption<'_>,
    ) -> Result<RedemptionOutcome, StoreError> {
        let mut state = self.call("redeem_code")?;
        if let Some((request, grant)) = state.spent_codes.get(&redemption.code).copied()
            && request != redemption.request
        {
            return Ok(RedemptionOutcome::Replayed { grant });
        }
        let Some(person) = state.person(redemption.person, redemption.epoch).cloned() else {
            return Ok(RedemptionOutcome::NotAuthorized);
        };
        if state.ended.contains(&Revoked::Session(redemption.session)) {
            return Ok(RedemptionOutcome::NotAuthorized);
        }
        state
            .spent_codes
            .insert(redemption.code, (redemption.request, redemption.grant));
        if let Some(NewFamily {
            id,
            expires_at,
            offline,
        }) = redemption.family
        {
            let family = Family {
                client_id: redemption.client_id.to_owned(),
                person: redemption.person,
                epoch: redemption.epoch,
                grant: redemption.grant,
                session: (!offline).then_some(redemption.session),
                sequence: 0,
                expires_at,
                last_used: redemption.now,
                rotated_at: redemption.now,
            };
            state.families.insert(id, family);
        }
        Ok(RedemptionOutcome::Redeemed(Box::new(person)))
    }

    async fn rotate_refresh(
        &self,
        _realm: RealmId,
        rotation: RefreshRotation<'_>,
    ) -> Result<RotationOutcome, StoreError> {
        let mut state = self.call("rotate_refresh")?;
        let Some(family) = state.families.get(&rotation.family).cloned() else {
            return Ok(RotationOutcome::NotAuthorized);
        };
        let Some(person) = state.person(family.person, family.epoch).cloned() else {
            return Ok(RotationOutcome::NotAuthorized);
        };
        let lives = state.family_lives(rotation.family, &family, rotation.idle, rotation.now);
        if !lives || family.client_id != rotation.client_id {
            return Ok(RotationOutcome::NotAuthorized);
        }
        let in_leeway = rotation.now.since(family.rotated_at) < rotation.leeway;
        let sequence = match rotation.sequence.cmp(&family.sequence) {
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater if rotation.rotate => rotation.sequence + 1,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => rotation.sequence,
            std::cmp::Ordering::Less if rotation.sequence + 1 == family.sequence && in_leeway => family.sequence,
            std::cmp::Ordering::Less => {
                state.ended.insert(Revoked::Family(rotation.family));
                return Ok(RotationOutcome::Replayed);
            }
        };
        if let Some(row) = state.families.get_mut(&rotation.family) {
            if sequence != row.sequence {
                row.rotated_at = rotation.now;
            }
            row.sequence = sequence;
            row.last_used = rotation.now;
        }
        Ok(RotationOutcome::Rotated {
            sequence,
            person: Box::new(person),
        })
    }

    async fn refresh_sequence(
        &self,
        _realm: RealmId,
        family: FamilyId,
        idle: Duration,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let state = self.call("refresh_sequence")?;
        let row = state.families.get(&family);
        Ok(row
            .filter(|row| state.family_lives(family, row, idle, now))
            .map(|row| row.sequence))
    }

    async fn revoke(&self, _realm: RealmId, revocations: &[Revocation], _now: Timestamp) -> Result<(), StoreError> {
        let mut state = self.call("revoke")?;
        state.ended.extend(revocations.iter().map(|revocation| revocation.what));
        Ok(())
    }

    async fn use_once(
        &self,
        _realm: RealmId,
        audience: &str,
        jti: &str,
        _expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.call("use_once")?;
        Ok(state.used.insert((audience.to_owned(), jti.to_owned())))
    }

    async fn keep_request(
        &self,
        _realm: RealmId,
        id: FlowId,
        request: &[u8],
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.call("keep_request")?;
        state.requests.insert(id, (request.to_vec(), expires_at));
        Ok(())
    }

    async fn kept_request(&self, _realm: RealmId, id: FlowId, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.call("kept_request")?;
        let kept = state.requests.get(&id);
        Ok(kept
            .filter(|(_, expires_at)| *expires_at > now)
            .map(|(request, _)| request.clone()))
    }
}
