//! What was revoked and is not yet expired, in the memory of every server.
//!
//! The store's feed and this replica's own acts fill it; each request that accepts a credential asks it. An entry lives
//! until the last credential it kills could still be used.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::Timestamp;
use crate::id::{FamilyId, GrantId, PersonId, SessionId, TokenId};

/// What a revocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// A browser session and every token that carries its `sid`.
    Session(SessionId),
    /// Everything issued from one grant.
    Grant(GrantId),
    /// A refresh family and its access tokens.
    Family(FamilyId),
    /// One token.
    Token(TokenId),
    /// Everything a person holds from before `epoch`.
    Person {
        /// Whose.
        person: PersonId,
        /// The person's epoch now; older ones are invalid.
        epoch: i32,
    },
}

/// A revocation with the moment after which it has nothing left to revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What ends.
    pub what: Revoked,
    /// When the entry may be forgotten.
    pub expires_at: Timestamp,
}

/// The live set. Reads take a shared lock for one hash lookup.
#[derive(Debug)]
pub struct Revocations {
    live: RwLock<HashMap<(u8, Uuid), Entry>>,
    as_of: AtomicI64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    expires_at_seconds: u32,
    epoch: i32,
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            live: RwLock::default(),
            as_of: AtomicI64::new(i64::MIN),
        }
    }
}

impl Revocations {
    /// Takes up entries: from the feed, or what this replica just recorded itself.
    pub fn record(&self, entries: impl IntoIterator<Item = Revocation>) {
        let mut live = self.live.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for Revocation { what, expires_at } in entries {
            let (key, epoch) = key(what);
            let expires_at_seconds = u32::try_from(expires_at.unix_seconds().saturating_add(1)).unwrap_or(u32::MAX);
            let entry = live.entry(key).or_insert(Entry {
                expires_at_seconds,
                epoch,
            });
            entry.expires_at_seconds = entry.expires_at_seconds.max(expires_at_seconds);
            entry.epoch = entry.epoch.max(epoch);
        }
    }

    /// Whether any of `credentials` is revoked. For [`Revoked::Person`] the epoch is the one the credential was made under.
    pub fn any_revoked(&self, credentials: impl IntoIterator<Item = Revoked>) -> bool {
        let live = self.live.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        credentials.into_iter().any(|what| {
            let (key, epoch) = key(what);
            live.get(&key).is_some_and(|entry| match what {
                Revoked::Person { .. } => epoch < entry.epoch,
                Revoked::Session(_) | Revoked::Grant(_) | Revoked::Family(_) | Revoked::Token(_) => true,
            })
        })
    }

    /// Says that the set held everything that was committed before `moment`. The last word counts, whatever was said
    /// before: a clock that ran ahead and was set back must not make the knowledge look fresh for as long.
    pub fn complete_as_of(&self, moment: Timestamp) {
        self.as_of.store(moment.unix_millis(), Ordering::Release);
    }

    /// How old the knowledge is at `now`; `None` before the first complete read.
    pub fn staleness(&self, now: Timestamp) -> Option<Duration> {
        let as_of = self.as_of.load(Ordering::Acquire);
        (as_of != i64::MIN).then(|| now.since(Timestamp::from_unix_millis(as_of)))
    }

    /// Forgets what has expired at `now`; returns how many entries are left.
    pub fn forget_expired(&self, now: Timestamp) -> usize {
        let now_seconds = u32::try_from(now.unix_seconds()).unwrap_or(0);
        let mut live = self.live.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        live.retain(|_, entry| entry.expires_at_seconds >= now_seconds);
        live.len()
    }
}

fn key(what: Revoked) -> ((u8, Uuid), i32) {
    match what {
        Revoked::Session(SessionId(id)) => ((0, id), 0),
        Revoked::Grant(GrantId(id)) => ((1, id), 0),
        Revoked::Family(FamilyId(id)) => ((2, id), 0),
        Revoked::Token(TokenId(id)) => ((3, id), 0),
        Revoked::Person {
            person: PersonId(id),
            epoch,
        } => ((4, id), epoch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowledge_ages_again_after_a_clock_that_ran_ahead_is_set_back() {
        let (right, ahead) = (Timestamp::from_unix_seconds(1000), Timestamp::from_unix_seconds(5000));
        let revocations = Revocations::default();
        revocations.complete_as_of(ahead);
        revocations.complete_as_of(right);
        let later = Timestamp::from_unix_seconds(1090);
        assert_eq!(revocations.staleness(later), Some(Duration::from_secs(90)));
    }
}
