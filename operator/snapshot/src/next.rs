//! The step from one committed configuration to the next: a pure function of what was, what is wanted, what servers
//! answered, and the time.

mod tombstones;

use std::collections::BTreeMap;
use std::sync::Arc;

use oidc::config::Resource;
use oidc::id::RealmId;
use oidc::time::Timestamp;

use crate::acknowledgements::{Acknowledgements, Answers};
use crate::artefact::{Artefact, Stored, content_of};
use crate::fleet::Fleet;
use crate::id::ResourceId;
use crate::manifest::{Counts, Head, Manifest, RecentLoss, SCHEMA, ServerVersion, ShrinkGuard};
use crate::shard::{Entry, Refusal, SHARD_COUNT, Shard};
use crate::wire::{self, Payload, RESOURCE_BYTES, ResourceError};

pub use tombstones::Standing;

/// What the next configuration follows from, beside the previous one.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Whose configuration it is.
    pub fleet: Fleet,
    /// The oldest server that may serve it.
    pub minimum_server: ServerVersion,
    /// Everything that shall be served. The order does not matter.
    pub desired: Vec<Resource>,
    /// What is known of realms, desired or not.
    pub standing: BTreeMap<RealmId, Standing>,
    /// What servers answered.
    pub acknowledgements: Acknowledgements,
    /// A mass deletion that is being held back. What is held back belongs into `desired`.
    pub shrink: Option<ShrinkGuard>,
    /// What was withdrawn lately.
    pub recent: Option<RecentLoss>,
    /// The time.
    pub now: Timestamp,
}

impl Inputs {
    /// What shall be served, by servers of this release, while nothing else is known: what a fleet begins with.
    pub fn new(fleet: Fleet, desired: Vec<Resource>, now: Timestamp) -> Self {
        Self {
            fleet,
            minimum_server: ServerVersion::current(),
            desired,
            standing: BTreeMap::new(),
            acknowledgements: Acknowledgements::default(),
            shrink: None,
            recent: None,
            now,
        }
    }
}

/// The next configuration, and what could not be taken into it.
#[derive(Debug)]
pub struct Step {
    /// Equal to the previous one when there is nothing to write; with the same head when no content changed.
    pub artefact: Artefact,
    /// Resources that are not served as wanted, with the reason. Those already served keep their version.
    pub excluded: BTreeMap<ResourceId, Exclusion>,
}

/// Why a resource was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Exclusion {
    /// Its shard has no room.
    #[error("the configuration of this fleet has no room for it")]
    FleetFull,
    /// It would not survive the check that servers make.
    #[error(transparent)]
    Invalid(ResourceError),
}

impl Artefact {
    /// The configuration that follows `previous`.
    ///
    /// A changed resource keeps its former version until every ready replica has accepted the new one; a version that
    /// a server refused is replaced by the former one and is not offered again until it changes. The generation moves
    /// only with content. A server that knows a later position than `previous` opens a new epoch.
    pub fn next(previous: Option<&Self>, inputs: Inputs) -> Step {
        let previous = previous.filter(|previous| previous.manifest().fleet == inputs.fleet);
        let highest = inputs.acknowledgements.highest;
        let highest = previous
            .and_then(|previous| inputs.acknowledgements.contradiction(previous.manifest()))
            .max(highest);
        let (reopened, following) = following(previous.map(Self::head), highest, inputs.now);
        let answers = inputs.acknowledgements.answers();
        let mut excluded = BTreeMap::new();
        let mut wanted = by_shard(inputs.desired, &mut excluded);
        let mut standing: BTreeMap<u8, BTreeMap<RealmId, Standing>> = BTreeMap::new();
        for (realm, known) in inputs.standing {
            let shard = standing.entry(ResourceId::Realm(realm).shard()).or_default();
            shard.insert(realm, known);
        }
        let mut shards = BTreeMap::new();
        for number in 0..SHARD_COUNT {
            let plan = Plan {
                number,
                previous: previous.and_then(|previous| previous.stored(number)),
                epoch: previous.map_or(0, |previous| previous.head().epoch),
                generation: following.generation,
                wanted: wanted.remove(&number).unwrap_or_default(),
                answers: &answers,
                standing: standing.remove(&number).unwrap_or_default(),
                now: inputs.now,
            };
            if let Some(stored) = plan.shard(&mut excluded) {
                shards.insert(number, stored);
            }
        }
        let entries = shards
            .values()
            .flat_map(|stored: &Arc<Stored>| &stored.shard.entries)
            .collect();
        let (content, counts) = (content_of(&entries), Counts::of(entries.keys().copied()));
        let head = match previous {
            Some(previous) if !reopened && previous.manifest().content == content => previous.head(),
            _ => following,
        };
        let manifest = Manifest {
            schema: SCHEMA,
            minimum_server: inputs.minimum_server,
            fleet: inputs.fleet,
            head,
            content,
            empty: entries.is_empty(),
            counts,
            shrink: inputs.shrink,
            recent: inputs.recent,
            shards: shards.iter().map(|(number, stored)| (*number, stored.hash)).collect(),
        };
        Step {
            artefact: Self::assemble(manifest, shards),
            excluded,
        }
    }
}

/// The head of the next commit, and whether it opens a new epoch.
fn following(previous: Option<Head>, highest: Option<Head>, now: Timestamp) -> (bool, Head) {
    let generation = previous.max(highest).map_or(0, |head| head.generation);
    let generation = previous
        .map_or(generation, |head| head.generation.max(generation))
        .saturating_add(1);
    match previous {
        Some(head) if highest.is_none_or(|highest| highest <= head) => (false, Head { generation, ..head }),
        _ => {
            let latest = previous.max(highest).map_or(0, |head| head.epoch.saturating_add(1));
            let epoch = u64::try_from(now.unix_seconds()).unwrap_or(0).max(latest);
            (true, Head { epoch, generation })
        }
    }
}

type Wanted = BTreeMap<ResourceId, Payload>;

/// Encodes what is wanted, without what servers would refuse at sight. Two resources of one name are the caller's
/// mistake; one of them wins whatever their order.
fn by_shard(desired: Vec<Resource>, excluded: &mut BTreeMap<ResourceId, Exclusion>) -> BTreeMap<u8, Wanted> {
    let mut shards: BTreeMap<u8, Wanted> = BTreeMap::new();
    for resource in desired {
        let id = ResourceId::of(&resource);
        let payload = wire::encode(&resource);
        if payload.bytes().len() > RESOURCE_BYTES {
            excluded.insert(id.clone(), Exclusion::FleetFull);
        }
        let shard = shards.entry(id.shard()).or_default();
        match shard.get(&id) {
            Some(other) if other.version() <= payload.version() => {}
            _ => {
                shard.insert(id, payload);
            }
        }
    }
    shards
}

/// The step of one shard.
struct Plan<'a> {
    number: u8,
    previous: Option<&'a Arc<Stored>>,
    epoch: u64,
    /// The generation that changes are committed in.
    generation: u64,
    wanted: Wanted,
    answers: &'a Answers<'a>,
    standing: BTreeMap<RealmId, Standing>,
    now: Timestamp,
}

impl Plan<'_> {
    fn shard(mut self, excluded: &mut BTreeMap<ResourceId, Exclusion>) -> Option<Arc<Stored>> {
        let empty = Shard::default();
        let before = self.previous.map_or(&empty, |stored| &stored.shard);
        let tombstones = self.tombstones(before);
        let mut shard = Shard {
            entries: BTreeMap::new(),
            refused: BTreeMap::new(),
            erase: self.erase(before, &tombstones),
            tombstones,
        };
        let mut changes = BTreeMap::new();
        for (id, payload) in std::mem::take(&mut self.wanted) {
            let (settled, refusal) = self.settle(&id, before);
            let refusal = refusal.filter(|refusal| refusal.version == payload.version());
            let is_served = settled
                .as_ref()
                .is_some_and(|entry| entry.current.version() == payload.version());
            let invalid = if is_served {
                None
            } else {
                wire::decode(&id, &payload).err()
            };
            let entry = match (is_served, refusal, invalid) {
                (true, ..) => settled,
                (false, Some(refusal), _) => {
                    shard.refused.insert(id.clone(), refusal);
                    settled
                }
                (false, None, Some(error)) => {
                    excluded.entry(id.clone()).or_insert(Exclusion::Invalid(error));
                    settled
                }
                (false, None, None) => {
                    let entry = self.replace(settled.as_ref(), payload);
                    changes.insert(id.clone(), settled);
                    Some(entry)
                }
            };
            if let Some(entry) = entry {
                shard.entries.insert(id, entry);
            }
        }
        self.fit(shard, changes, excluded)
    }

    /// What the answers make of a resource: accepted versions need no former one, refused versions give way to it.
    fn settle(&self, id: &ResourceId, before: &Shard) -> (Option<Entry>, Option<Refusal>) {
        let Some(entry) = before.entries.get(id) else {
            return (None, before.refused.get(id).cloned());
        };
        let version = entry.current.version();
        let since = Head {
            epoch: self.epoch,
            generation: entry.since_generation,
        };
        let mut entry = entry.clone();
        if let Some(refusal) = self.answers.refusal(id, version) {
            let served = match entry.former {
                Some(former) => Some(Entry {
                    since_generation: self.generation,
                    current: former,
                    former: None,
                }),
                // One server, older or newer than the others, does not take from them what they serve.
                None => self.answers.is_accepted_somewhere(id, version, since).then_some(entry),
            };
            return (served, Some(refusal.clone()));
        }
        if entry.former.is_some() && self.answers.accepted(id, version, since) {
            entry.former = None;
        }
        (Some(entry), before.refused.get(id).cloned())
    }

    /// A new version in place of what is served. The former version is the last one that servers accepted.
    fn replace(&self, served: Option<&Entry>, payload: Payload) -> Entry {
        let former = served.map(|entry| entry.former.as_ref().unwrap_or(&entry.current));
        Entry {
            since_generation: self.generation,
            former: former.filter(|former| former.version() != payload.version()).cloned(),
            current: payload,
        }
    }

    /// Takes changes back, the largest first, until the shard fits. What is served already stays.
    fn fit(
        &self,
        mut shard: Shard,
        changes: BTreeMap<ResourceId, Option<Entry>>,
        excluded: &mut BTreeMap<ResourceId, Exclusion>,
    ) -> Option<Arc<Stored>> {
        let size = |entries: &BTreeMap<ResourceId, Entry>, id: &ResourceId| {
            entries.get(id).map_or(0, |entry| entry.current.bytes().len())
        };
        let mut retractable: Vec<_> = changes.into_iter().collect();
        retractable.sort_by_key(|(id, _)| size(&shard.entries, id));
        loop {
            if shard.is_empty() {
                return None;
            }
            if let Some(previous) = self.previous.filter(|previous| previous.shard == shard) {
                return Some(Arc::clone(previous));
            }
            if let Ok(stored) = Stored::new(self.number, shard.clone()) {
                return Some(Arc::new(stored));
            }
            if let Some((id, settled)) = retractable.pop() {
                match settled {
                    Some(entry) => shard.entries.insert(id.clone(), entry),
                    None => shard.entries.remove(&id),
                };
                excluded.insert(id, Exclusion::FleetFull);
            } else if shard.entries.values().any(|entry| entry.former.is_some()) {
                shard.entries.values_mut().for_each(|entry| entry.former = None);
            } else if let Some(id) = shard.entries.keys().max_by_key(|id| size(&shard.entries, id)).cloned() {
                shard.entries.remove(&id);
                excluded.insert(id, Exclusion::FleetFull);
            } else {
                shard.tombstones.clear();
                shard.refused.clear();
                shard.erase.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests;
