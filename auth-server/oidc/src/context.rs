//! What a request is answered from: one configuration, the store, the revocations, and the moment.
//!
//! A caller builds it once per request, so that a request never sees two configurations or two times. Randomness is a
//! parameter of its own, because it is mutable.

use std::sync::Arc;
use std::time::Duration;

use crate::Timestamp;
use crate::config::Realm;
use crate::id::RealmId;
use crate::keys::Keys;
use crate::remembered::Remembered;
use crate::revocation::Revocations;
use crate::served::ServedRealm;
use crate::store::Store;

/// The randomness that callers lend to the core.
pub type Randomness<'a> = &'a mut (dyn rand::CryptoRng + Send);

/// What a request of one realm is answered from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The realm as served when the request came.
    pub served: &'a Arc<ServedRealm>,
    /// The store port.
    pub store: &'a dyn Store,
    /// What is revoked.
    pub revocations: &'a Revocations,
    /// What need not be worked out or read again.
    pub remembered: &'a Remembered,
    /// The moment of the request.
    pub now: Timestamp,
    /// How old the knowledge about revocations may be where nothing else re-checks a credential.
    pub max_staleness: Duration,
}

impl<'a> Context<'a> {
    /// The realm's rules.
    pub fn realm(&self) -> &'a Realm {
        &self.served.realm
    }

    /// The realm's id.
    pub fn realm_id(&self) -> RealmId {
        self.served.realm.id
    }

    /// The issuer exactly as configured.
    pub fn issuer(&self) -> &'a str {
        self.served.realm.issuer.as_str()
    }

    /// The realm's keys.
    pub fn keys(&self) -> &'a Arc<Keys> {
        &self.served.keys
    }

    /// The absolute URL of one of [`crate::endpoint`]'s paths.
    pub fn url(&self, path: &str) -> String {
        [self.issuer(), path].concat()
    }

    /// Whether revocations are known well enough to accept a credential that no statement re-checks.
    pub fn knows_revocations(&self) -> bool {
        self.revocations
            .staleness(self.now)
            .is_some_and(|age| age <= self.max_staleness)
    }

    /// Whether something made at `moment` is invalidated by the realm's `notBefore`.
    pub fn predates_realm(&self, moment: Timestamp) -> bool {
        self.realm().not_before.is_some_and(|not_before| moment < not_before)
    }
}
