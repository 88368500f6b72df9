//! What a server remembers for a while instead of working it out again: access tokens whose signature was verified, and
//! people that were read for the UserInfo endpoint. Bounded in bytes; what is used least makes room.
//!
//! Nothing remembered says that a credential is good. Expiry, revocation, `notBefore`, client and epoch are looked at on
//! every use, and what was verified with a realm's keys is forgotten with these keys.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Timestamp;
use crate::access_token::AccessToken;
use crate::context::Context;
use crate::id::{PersonId, RealmId};
use crate::keys::Keys;
use crate::person::{Person, PersonState};
use crate::revocation::Revoked;
use crate::store::StoreError;

/// Bytes of verified tokens at most.
const TOKEN_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of people at most.
const PEOPLE_BYTES: u64 = 4 * 1024 * 1024;
/// What an entry costs beside the texts in it.
const ENTRY_BYTES: u64 = 512;
/// Entries that room is made for at the start; more room follows with use.
const EXPECTED_ENTRIES: usize = 256;
/// How long a person who was read is taken for what the database holds.
pub const PERSON_AGE: Duration = Duration::from_secs(30);

/// What a server remembers. One value for all realms.
#[derive(Debug)]
pub struct Remembered {
    tokens: Cache<TokenHash, Verified, Weights>,
    people: Cache<(RealmId, PersonId), Recent, Weights>,
}

/// The SHA-256 of a token: the token itself is a credential and is not kept.
type TokenHash = [u8; 32];

/// A token that `keys` vouched for.
#[derive(Clone, Debug)]
struct Verified {
    keys: Weak<Keys>,
    token: Arc<AccessToken>,
    bytes: usize,
}

/// A person as read at a moment.
#[derive(Clone, Debug)]
struct Recent {
    person: Arc<Person>,
    read_at: Timestamp,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Weights;

impl Weighter<TokenHash, Verified> for Weights {
    fn weight(&self, _hash: &TokenHash, verified: &Verified) -> u64 {
        verified.bytes as u64 + ENTRY_BYTES
    }
}

impl Weighter<(RealmId, PersonId), Recent> for Weights {
    fn weight(&self, _id: &(RealmId, PersonId), recent: &Recent) -> u64 {
        recent.bytes as u64 + ENTRY_BYTES
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            tokens: Cache::with_weighter(EXPECTED_ENTRIES, TOKEN_BYTES, Weights),
            people: Cache::with_weighter(EXPECTED_ENTRIES, PEOPLE_BYTES, Weights),
        }
    }
}

impl Remembered {
    /// What `token` says, when exactly these keys vouched for it before; otherwise what `verify` finds, remembered when
    /// it finds something. A token that does not verify leaves no trace.
    pub(crate) fn verified(
        &self,
        keys: &Arc<Keys>,
        token: &str,
        verify: impl FnOnce() -> Option<AccessToken>,
    ) -> Option<Arc<AccessToken>> {
        let hash = hash(token);
        if let Some(known) = self.tokens.get(&hash)
            && std::ptr::eq(known.keys.as_ptr(), Arc::as_ptr(keys))
        {
            return Some(known.token);
        }
        let verified = Arc::new(verify()?);
        let entry = Verified {
            keys: Arc::downgrade(keys),
            token: Arc::clone(&verified),
            bytes: token.len(),
        };
        self.tokens.insert(hash, entry);
        Some(verified)
    }
}

/// The person behind a credential made under `epoch`, when active and still in that epoch. At most one read by primary
/// key; none when the person was read within [`PERSON_AGE`] and the feed knows of no later epoch.
pub(crate) async fn person_in_epoch(
    context: &Context<'_>,
    id: PersonId,
    epoch: i32,
) -> Result<Option<Arc<Person>>, StoreError> {
    let (people, key) = (&context.remembered.people, (context.realm_id(), id));
    if let Some(known) = people.get(&key)
        && known.person.epoch == epoch
        && is_recent(context, known.read_at)
        && !context.revocations.any_revoked([Revoked::Person { person: id, epoch }])
    {
        return Ok(Some(known.person));
    }
    let read = context.store.person(context.realm_id(), id).await?;
    let active = read.filter(|person| person.state == PersonState::Active);
    let Some(person) = active.map(Arc::new) else {
        people.remove(&key);
        return Ok(None);
    };
    let entry = Recent {
        person: Arc::clone(&person),
        read_at: context.now,
        bytes: bytes_of(&person),
    };
    people.insert(key, entry);
    Ok(Some(person).filter(|person| person.epoch == epoch))
}

/// A clock that was set back makes nothing recent.
fn is_recent(context: &Context<'_>, read_at: Timestamp) -> bool {
    let limit = PERSON_AGE.min(context.max_staleness);
    read_at <= context.now && context.now.since(read_at) < limit
}

fn hash(token: &str) -> TokenHash {
    let mut hash = TokenHash::default();
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// About what the texts of a person take.
fn bytes_of(person: &Person) -> usize {
    let Person {
        id: _,
        username,
        state: _,
        epoch: _,
        groups,
        profile,
        updated_at: _,
    } = person;
    let profile = serde_json::to_vec(profile).map_or(0, |json| json.len());
    let groups: usize = groups.iter().map(|group| group.len() + size_of::<String>()).sum();
    username.len() + groups + profile + size_of::<Person>()
}

#[cfg(test)]
mod tests;
