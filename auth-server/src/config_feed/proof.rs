//! Which key sets of an update work, found out before the update is applied: loading a key costs as much as many requests.
//!
//! At a start from files, what every replica has accepted is taken at its word, so that a server with a thousand realms is
//! there at once; those keys are tried afterwards.

use std::collections::{BTreeMap, BTreeSet};

use oidc::config::{KeySet, Resource};
use oidc::id::RealmId;
use oidc::keys::{self, KeyFault};
use oidc::served::Served;
use snapshot::{Hash, ResourceId};

use super::update::{Offer, Piece, Update};

/// Which key sets are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// All that are new.
    New,
    /// Those that not every replica has accepted yet.
    Unsettled,
}

/// What is known about the key sets of an update.
#[derive(Debug, Default)]
pub(super) struct Proof {
    faults: BTreeMap<Hash, KeyFault>,
    untried: BTreeSet<RealmId>,
}

impl Proof {
    /// Tries the key sets of `update`. Those in `live`, but for the `unproven`, have been tried before.
    pub(super) fn of(update: &Update, trial: Trial, live: &Served, unproven: &BTreeSet<RealmId>) -> Self {
        let mut proof = Self::default();
        for (id, piece) in &update.pieces {
            let ResourceId::Keys(realm) = id else { continue };
            let Piece { current, former } = piece;
            if trial == Trial::Unsettled && former.is_none() {
                proof.untried.insert(*realm);
                continue;
            }
            let live = live.realm(*realm).filter(|_| !unproven.contains(realm));
            let proven = live.map(|served| served.keys.set());
            if !proof.try_keys(current, proven)
                && let Some(former) = former
            {
                proof.try_keys(former, proven);
            }
        }
        proof
    }

    /// Whether nothing is wrong with a key set. What is no key set is for others to judge.
    fn try_keys(&mut self, offer: &Offer, proven: Option<&KeySet>) -> bool {
        let Ok(Resource::Keys(set)) = offer.resource.as_deref() else {
            return false;
        };
        match keys::prove(set, proven) {
            Ok(()) => true,
            Err(fault) => {
                self.faults.insert(offer.version, fault);
                false
            }
        }
    }

    /// What is wrong with a version of a key set.
    pub(super) fn fault(&self, version: Hash) -> Option<&KeyFault> {
        self.faults.get(&version)
    }

    /// Whether the keys of a realm are to be taken at their word.
    pub(super) fn is_untried(&self, realm: RealmId) -> bool {
        self.untried.contains(&realm)
    }
}
