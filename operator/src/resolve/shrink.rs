//! The shrink guard: much that vanishes at once is held back, in case it vanished by mistake.
//!
//! A few withdrawals go out at once, whatever their cause. Mass loss is held for a while, as it was served, and said on
//! the AuthServer, whose owner confirms or vetoes it by annotation. What was seen and when lies in the manifest, so that
//! a restarted operator goes on holding.

use std::collections::BTreeSet;
use std::time::Duration;

use crds::manifests::Kind;
use oidc::Timestamp;
use oidc::config::Resource;
use oidc::id::RealmId;
use snapshot::{Artefact, RecentLoss, ResourceId, ShrinkGuard};

use super::unserved::realm_of;
use crate::world::{Cluster, ObjectId, ObjectKey, World};

/// How long mass loss is held.
pub(super) const HELD: Duration = Duration::from_mins(15);

/// Losses within this time are counted together.
const WINDOW: Duration = Duration::from_mins(5);

/// So few are never mass loss.
const FEW: usize = 10;

/// What is held, and what is to be remembered about it.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    /// Resources that stay served although nobody wants them any more.
    pub(super) held: Vec<Resource>,
    /// Realms that are held no longer although nobody said why they went.
    pub(super) lost: BTreeSet<RealmId>,
    /// The mass loss that is being held.
    pub(super) shrink: Option<ShrinkGuard>,
    /// What went lately.
    pub(super) recent: Option<RecentLoss>,
}

/// What the guard judges.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    pub(super) world: &'a World,
    pub(super) fleet: &'a ObjectKey,
    /// What is served.
    pub(super) previous: &'a Artefact,
    /// What shall be served.
    pub(super) desired: BTreeSet<ResourceId>,
    pub(super) now: Timestamp,
}

/// A person's word on a mass loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Confirm,
    Veto,
}

/// A Realm or Client that would be served no longer.
struct Loss {
    resource: Resource,
    cause: Cause,
}

/// Why the custom resource of a loss is not served any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It is still there, and its status says why.
    Excluded,
    /// It was seen being deleted, or its namespace is.
    Deleted,
    /// Nobody saw it go.
    Unseen,
    /// The definition of its kind went, and took it along.
    Swept,
    /// Its kind cannot be read: nothing is known about it.
    Unreadable,
}

impl Guard<'_> {
    /// Decides what of the losses is held. Without a cluster nothing is: a folder is edited by the one who looks at it.
    pub(super) fn judge(&self) -> Guarded {
        let Some(cluster) = &self.world.cluster else {
            return Guarded::default();
        };
        let (frozen, losses) = split(self.losses(cluster), |loss| loss.cause == Cause::Unreadable);
        let mut guarded = self.judge_losses(losses);
        guarded.held.extend(self.with_keys(frozen));
        guarded
    }

    /// Decides about losses of which something is known.
    fn judge_losses(&self, losses: Vec<Loss>) -> Guarded {
        let manifest = self.previous.manifest();
        if losses.is_empty() {
            // What is written is not written anew only because time passes.
            return Guarded {
                recent: manifest.recent,
                ..Guarded::default()
            };
        }
        let recent = manifest.recent.filter(|recent| self.now.since(recent.since) < WINDOW);
        let served = manifest.counts.realms.saturating_add(manifest.counts.clients);
        let recent = recent.unwrap_or(RecentLoss {
            since: self.now,
            of: served,
            lost: 0,
        });
        let number = u32::try_from(losses.len()).unwrap_or(u32::MAX);
        let lost = recent.lost.saturating_add(number);
        let is_most = lost as usize > FEW && lost.saturating_mul(2) > recent.of;
        let count = |cause| losses.iter().filter(|loss| loss.cause == cause).count();
        let (unseen, swept) = (count(Cause::Unseen), count(Cause::Swept));
        // Whoever leads next has not seen why it is held.
        let is_going_on = unseen > 0 && manifest.shrink.is_some();
        let is_unexplained = unseen > FEW.max(served as usize / 20) || swept > 0 || is_going_on;
        if !is_most && !is_unexplained {
            return Guarded {
                recent: Some(RecentLoss { lost, ..recent }),
                ..Guarded::default()
            };
        }
        let just_went = |loss: &Loss| matches!(loss.cause, Cause::Unseen | Cause::Swept);
        let realms = losses
            .iter()
            .filter(|loss| just_went(loss))
            .filter_map(|loss| realm_of(&loss.resource));
        let realms = realms.collect();
        let (held, _) = split(losses, |loss| is_most || just_went(loss));
        self.hold(held, realms, recent)
    }

    /// Holds what is lost until somebody or time decides. Afterwards losses are counted anew. What time alone decides
    /// takes nobody's rows: nobody said why the realms of `lost` went.
    fn hold(&self, held: Vec<Resource>, lost: BTreeSet<RealmId>, recent: RecentLoss) -> Guarded {
        let word = self.word();
        let before = self.previous.manifest().shrink;
        // A confirmation that was there before speaks of another loss.
        let spent = match before {
            None => word == Some(Word::Confirm),
            Some(before) => before.spent_confirmation && word == Some(Word::Confirm),
        };
        let since = before.map_or(self.now, |before| before.since);
        match word {
            Some(Word::Confirm) if !spent => return Guarded::default(),
            Some(Word::Confirm) | None if self.now.since(since) >= HELD => {
                return Guarded {
                    lost,
                    ..Guarded::default()
                };
            }
            Some(Word::Confirm | Word::Veto) | None => {}
        }
        let count = |is: fn(&Resource) -> bool| {
            let number = held.iter().filter(|resource| is(resource)).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let shrink = ShrinkGuard {
            since,
            realms: count(|resource| matches!(resource, Resource::Realm(_))),
            clients: count(|resource| matches!(resource, Resource::Client(_))),
            spent_confirmation: spent,
        };
        Guarded {
            held: self.with_keys(held),
            lost: BTreeSet::new(),
            shrink: Some(shrink),
            recent: Some(recent).filter(|recent| recent.lost > 0),
        }
    }

    /// The same with the keys of the realms among them.
    fn with_keys(&self, mut held: Vec<Resource>) -> Vec<Resource> {
        let keys = held.iter().filter_map(|resource| match resource {
            Resource::Realm(realm) => self.previous.resource(&ResourceId::Keys(realm.id)),
            Resource::Keys(_) | Resource::Client(_) => None,
        });
        let keys: Vec<Resource> = keys.collect();
        held.extend(keys);
        held
    }

    fn losses(&self, cluster: &Cluster) -> Vec<Loss> {
        let entries = self.previous.entries();
        let lost = entries.into_keys().filter(|id| !self.desired.contains(*id));
        let resources = lost.filter_map(|id| self.previous.resource(id));
        let judge = |resource| {
            let (kind, name) = match &resource {
                Resource::Realm(realm) => (Kind::Realm, &realm.name),
                Resource::Client(client) => (Kind::Client, &client.name),
                // Keys go with their realm.
                Resource::Keys(_) => return None,
            };
            let cause = self.cause(cluster, kind, name);
            Some(Loss { resource, cause })
        };
        resources.filter_map(judge).collect()
    }

    /// Why the custom resource of that name is not served any more.
    fn cause(&self, cluster: &Cluster, kind: Kind, name: &str) -> Cause {
        let Some(key) = ObjectKey::parse(name) else {
            return Cause::Unseen;
        };
        let is_there = match kind {
            Kind::AuthServer => self.world.auth_servers.contains_key(&key),
            Kind::Realm => self.world.realms.contains_key(&key),
            Kind::Client => self.world.clients.contains_key(&key),
        };
        if is_there {
            return Cause::Excluded;
        }
        let is_ending = cluster.terminating.contains(&key.namespace);
        let id = ObjectId { kind, key };
        if is_ending || cluster.deleted.contains(&id) {
            Cause::Deleted
        } else if cluster.unreadable.contains_key(kind.as_str()) {
            Cause::Unreadable
        } else if cluster.swept.contains(&id) {
            Cause::Swept
        } else {
            Cause::Unseen
        }
    }

    fn word(&self) -> Option<Word> {
        let server = self.world.auth_servers.get(self.fleet)?;
        match server
            .metadata
            .annotations
            .as_ref()?
            .get(crds::SHRINK_ANNOTATION)?
            .as_str()
        {
            "confirm" => Some(Word::Confirm),
            "veto" => Some(Word::Veto),
            _ => None,
        }
    }
}

/// The resources of the losses that are `wanted`, and the other losses. With a realm go the clients that are there and
/// only lack it.
fn split(losses: Vec<Loss>, wanted: impl Fn(&Loss) -> bool) -> (Vec<Resource>, Vec<Loss>) {
    let realms: BTreeSet<RealmId> = losses
        .iter()
        .filter(|loss| wanted(loss))
        .filter_map(|loss| realm_of(&loss.resource))
        .collect();
    let lacks = |loss: &Loss| match &loss.resource {
        Resource::Client(client) => loss.cause == Cause::Excluded && realms.contains(&client.realm),
        Resource::Realm(_) | Resource::Keys(_) => false,
    };
    let (held, rest): (Vec<Loss>, Vec<Loss>) = losses.into_iter().partition(|loss| wanted(loss) || lacks(loss));
    (held.into_iter().map(|loss| loss.resource).collect(), rest)
}

/// What is said about a mass loss that is held.
pub(super) fn sentence(shrink: &ShrinkGuard) -> String {
    let ShrinkGuard {
        since,
        realms,
        clients,
        spent_confirmation,
    } = shrink;
    let until = jiff::Timestamp::from_second(since.after(HELD).unix_seconds()).unwrap_or_default();
    let annotation = crds::SHRINK_ANNOTATION;
    let spent = if *spent_confirmation {
        "; the annotation was there before and confirms nothing: remove it first"
    } else {
        ""
    };
    format!(
        "{realms} Realms and {clients} Clients vanished at once and stay served until {until}: restore them, or annotate \
         the AuthServer with {annotation}=confirm to let them go now, or with {annotation}=veto to keep them{spent}"
    )
}
