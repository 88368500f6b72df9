//! Delivery in a cluster: Secrets ↔ [`Publisher`], on every replica; commits and certificates, on the leader.
//!
//! Every replica calls [`Delivery::observe`] with each new world: it serves what the Secrets say is committed, trusts
//! the authorities that they hold, and takes the pods that the watch shows. The leader resolves against
//! [`Delivery::artefacts`] and [`Delivery::acknowledgements`], then calls [`Delivery::keep_peers`] and
//! [`Delivery::commit`]. What this replica wrote itself counts at once, ahead of the watch.

mod bucket;
mod certificates;
mod commit;
mod health;
pub mod issuer;
mod overlay;
mod staleness;
mod trouble;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crds::auth_server::PeerTls;
use crds::manifests::Kind;
use oidc::Timestamp;
use rustls::pki_types::CertificateDer;
use snapshot::{Acknowledgements, Artefact, Fleet, Head};
use tokio::sync::watch;

use crate::apply::secret::WriteError;
use crate::build::Owner;
use crate::build::artefact::{self, SeenSecret, Stored};
use crate::build::peers;
use crate::log::chain;
use crate::pki::{Leaf, PkiError};
use crate::publish::{Acks, FleetAcks, FleetFeed, Limits, Publisher, Roster, TlsError, TokenVerifier};
use crate::world::{ObjectId, ObjectKey, SecretObject, World};
use bucket::Bucket;
use overlay::Overlay;
use staleness::Staleness;
use trouble::Troubles;

pub use commit::Commit;

/// The audience of the tokens by which pods are recognised.
pub const AUDIENCE: &str = "nauthera-operator";

/// Something that cannot be delivered. What was delivered before stays.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// A Secret cannot be written.
    #[error("{} cannot be written", key)]
    Write {
        /// The Secret.
        key: ObjectKey,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// A Secret of that name exists and is not ours.
    #[error("Secret {0} belongs to somebody else: delete or rename it")]
    Foreign(ObjectKey),
    /// A certificate cannot be made, or an authority cannot be read from its Secret.
    #[error("certificates of {subject} cannot be made")]
    Pki {
        /// Whose.
        subject: String,
        /// Why.
        #[source]
        source: PkiError,
    },
}

/// Counts of one fleet, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// Commits of this process.
    pub commits: u64,
    /// Bytes that those wrote.
    pub written_bytes: u64,
    /// Size of the committed artefact, bytes.
    pub artefact_bytes: u64,
    /// Position of the committed artefact.
    pub head: Option<Head>,
    /// Streams that are open.
    pub connected: usize,
    /// Ready servers that have been behind for too long.
    pub stale: usize,
}

/// Delivery of every fleet.
#[derive(Debug)]
pub struct Delivery {
    namespace: String,
    publisher: Publisher,
    secrets: Overlay,
    identity: Option<Identity>,
    fleets: BTreeMap<ObjectKey, Served>,
    artefacts: BTreeMap<ObjectKey, Artefact>,
    foreign: BTreeMap<ObjectKey, Instant>,
    troubles: Troubles,
}

/// What this replica shows to servers, and what it was made from.
#[derive(Debug)]
struct Identity {
    leaf: Leaf,
    authority: Arc<SecretObject>,
}

/// A fleet that is served.
#[derive(Debug)]
struct Served {
    fleet: Fleet,
    artefact: watch::Sender<Option<Arc<Artefact>>>,
    authorities: Vec<CertificateDer<'static>>,
    /// A position that Secrets name without having what it consists of.
    damaged: Option<Head>,
    problem: Option<String>,
    bucket: Bucket,
    /// When something else than what servers serve already was committed last.
    committed: Option<Instant>,
    counts: FleetCounts,
    staleness: Staleness,
}

impl Delivery {
    /// Nothing is delivered yet. `namespace` is the operator's own.
    pub fn new(namespace: &str, limits: Limits, tokens: TokenVerifier) -> Self {
        Self {
            namespace: namespace.to_owned(),
            publisher: Publisher::new(limits, tokens),
            secrets: Overlay::default(),
            identity: None,
            fleets: BTreeMap::new(),
            artefacts: BTreeMap::new(),
            foreign: BTreeMap::new(),
            troubles: Troubles::default(),
        }
    }

    /// What serves the streams: run [`Publisher::serve`] on a listener beside this. Before the first
    /// [`Delivery::observe`] that finds the operators' authority it refuses every handshake.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// What servers answered, whenever that changes: a reason for the leader to resolve again.
    pub fn acks(&self) -> watch::Receiver<Arc<Acks>> {
        self.publisher.acks()
    }

    /// What is committed: `previous` of the next resolution.
    pub fn artefacts(&self) -> &BTreeMap<ObjectKey, Artefact> {
        &self.artefacts
    }

    /// What the servers of each fleet answered, for the next resolution.
    pub fn acknowledgements(&self, world: &World) -> BTreeMap<ObjectKey, Acknowledgements> {
        let acks = self.acks().borrow().clone();
        let none = FleetAcks::default();
        let of = |(key, served): (&ObjectKey, &Served)| {
            let answers = acks.fleets.get(&served.fleet).unwrap_or(&none);
            let mut answers = answers.acknowledgements(ready_pods(world, key));
            answers.highest = answers.highest.max(served.damaged);
            (key.clone(), answers)
        };
        self.fleets.iter().map(of).collect()
    }

    /// Whether the servers of all these pods said that they serve the configuration at `head`, or a later one.
    pub fn serve(&self, fleet: &ObjectKey, pods: &BTreeSet<String>, head: Head) -> bool {
        let acks = self.acks();
        let acks = acks.borrow();
        let answers = self.fleets.get(fleet).and_then(|served| acks.fleets.get(&served.fleet));
        let answer = |pod: &String| answers?.pods.get(pod)?.answer.as_ref();
        pods.iter()
            .all(|pod| answer(pod).is_some_and(|answer| answer.head >= head))
    }

    /// Counts of each fleet.
    pub fn counts(&self) -> BTreeMap<ObjectKey, FleetCounts> {
        let acks = self.acks().borrow().clone();
        let of = |(key, served): (&ObjectKey, &Served)| {
            let artefact = self.artefacts.get(key);
            let connected = acks.fleets.get(&served.fleet).map_or(0, FleetAcks::connected);
            let counts = FleetCounts {
                artefact_bytes: artefact.map_or(0, size) as u64,
                head: artefact.map(Artefact::head),
                connected,
                stale: served.staleness.stale().len(),
                ..served.counts
            };
            (key.clone(), counts)
        };
        self.fleets.iter().map(of).collect()
    }

    /// Whether streams can be served: the operators' authority is known.
    pub fn is_ready(&self) -> bool {
        self.identity.is_some()
    }

    /// Takes what the world says. Every replica, with every new world; costs next to nothing when nothing changed.
    pub fn observe(&mut self, world: &World, now: Timestamp) {
        self.secrets.settle(world);
        if let Err(error) = self.show_identity(world, now) {
            tracing::error!(error = %chain(&error), "no certificate for the configuration stream");
        }
        let keys = fleets(world);
        for key in &keys {
            self.observe_fleet(world, key);
        }
        let gone: Vec<ObjectKey> = self.fleets.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        for key in gone {
            self.artefacts.remove(&key);
            if let Some(served) = self.fleets.remove(&key) {
                self.publisher.remove_fleet(&served.fleet);
            }
        }
        self.troubles.retain(|fleet| keys.contains(fleet));
        self.publisher.set_roster(self.roster(world));
        self.observe_servers(world, now);
    }

    fn show_identity(&mut self, world: &World, now: Timestamp) -> Result<(), IdentityError> {
        let key = peers::operator_authority_secret(&self.namespace);
        let Some(SeenSecret { object, .. }) = self.secrets.seen(world, &key) else {
            return Ok(());
        };
        let present = self.identity.as_ref();
        if present.is_some_and(|present| *present.authority == *object && now < present.leaf.renew_at) {
            return Ok(());
        }
        let operators = peers::authority(&object)?;
        let issuer = operators.issuer(peers::shows_next(&operators));
        let leaf = match present {
            Some(present) if issuer.issued(&present.leaf) && now < present.leaf.renew_at => present.leaf.clone(),
            _ => issuer.issue_operator(now)?,
        };
        self.publisher.set_identity(&leaf)?;
        self.identity = Some(Identity {
            leaf,
            authority: object,
        });
        Ok(())
    }

    fn observe_fleet(&mut self, world: &World, key: &ObjectKey) {
        let served = match self.fleets.entry(key.clone()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let Ok(fleet) = Fleet::new(&key.namespace, &key.name) else {
                    return;
                };
                entry.insert(Served::new(fleet))
            }
        };
        let secrets = &self.secrets;
        let manifest = artefact::manifest_secret(key);
        let committed = self.artefacts.get(key).map(|artefact| artefact.manifest().encode());
        let document = secrets.object(world, &manifest);
        let document = document.and_then(|secret| secret.data.get(snapshot::MANIFEST_FILE));
        // Equal manifests name equal content, so the shards need not be read again.
        if served.damaged.is_some() || document.map(oidc::Secret::expose) != committed.as_ref() {
            match artefact::read(key, |key| secrets.object(world, key)) {
                Stored::Committed(artefact) => {
                    served.damaged = None;
                    served.trouble(None);
                    served.serve(&artefact);
                    self.artefacts.insert(key.clone(), *artefact);
                }
                // Removed by somebody: what is served stays, and the leader commits it again.
                Stored::Nothing => {}
                Stored::Damaged { manifest, error } => {
                    served.damaged = manifest.map(|manifest| manifest.head);
                    served.trouble(Some(chain(&error)));
                }
            }
        }
        let peer_tls = world.auth_servers.get(key).map(|server| &server.spec.peer_tls);
        let Some(peer_tls) = peer_tls.or_else(|| served.authorities.is_empty().then_some(&BUILT_IN)) else {
            return;
        };
        let authorities = peers::trusted(&self.namespace, key, peer_tls, |key| secrets.seen(world, key));
        if let Ok(authorities) = authorities
            && authorities != served.authorities
        {
            let feed = FleetFeed {
                artefact: served.artefact.subscribe(),
                authorities: authorities.clone(),
            };
            match self.publisher.set_fleet(&served.fleet, feed) {
                Ok(()) => served.authorities = authorities,
                Err(error) => served.trouble(Some(chain(&error))),
            }
        }
    }

    fn roster(&self, world: &World) -> Roster {
        let pods = |key: &ObjectKey| {
            let pods = world.cluster.as_ref().and_then(|cluster| cluster.pods.get(key));
            let pods = pods.into_iter().flatten();
            pods.map(|(uid, pod)| (uid.clone(), pod.name.clone())).collect()
        };
        let fleets = self.fleets.iter();
        fleets.map(|(key, served)| (served.fleet.clone(), pods(key))).collect()
    }
}

const BUILT_IN: PeerTls = PeerTls::BuiltIn(crds::auth_server::BuiltIn {});

/// Why this replica has nothing to show.
#[derive(Debug, thiserror::Error)]
enum IdentityError {
    #[error("operators' authority cannot be used")]
    Pki(#[from] PkiError),
    #[error("certificate cannot be shown")]
    Tls(#[from] TlsError),
}

impl Served {
    fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            artefact: watch::Sender::default(),
            authorities: Vec::new(),
            damaged: None,
            problem: None,
            bucket: Bucket::new(Instant::now()),
            committed: None,
            counts: FleetCounts::default(),
            staleness: Staleness::default(),
        }
    }

    fn serve(&self, artefact: &Artefact) {
        self.artefact.send_if_modified(|present| {
            let is_new = present.as_deref() != Some(artefact);
            if is_new {
                *present = Some(Arc::new(artefact.clone()));
            }
            is_new
        });
    }

    /// Says once what is wrong with the Secrets of a fleet.
    fn trouble(&mut self, problem: Option<String>) {
        if let Some(reason) = problem.as_ref().filter(|_| problem != self.problem) {
            tracing::warn!(fleet = %self.fleet, reason, "committed configuration cannot be read; the last good one stays");
        }
        self.problem = problem;
    }
}

/// The fleets of the world, those included whose AuthServer does not parse.
fn fleets(world: &World) -> BTreeSet<ObjectKey> {
    let undecodable = world.undecodable.keys();
    let undecodable = undecodable.filter(|ObjectId { kind, .. }| *kind == Kind::AuthServer);
    let keys = world.auth_servers.keys();
    keys.chain(undecodable.map(|id| &id.key)).cloned().collect()
}

fn owner(world: &World, fleet: &ObjectKey) -> Option<Owner> {
    let server = world.auth_servers.get(fleet)?;
    Some(Owner {
        kind: Kind::AuthServer,
        key: fleet.clone(),
        uid: server.metadata.uid.clone()?,
    })
}

fn ready_pods(world: &World, fleet: &ObjectKey) -> BTreeSet<String> {
    let pods = world.cluster.as_ref().and_then(|cluster| cluster.pods.get(fleet));
    let ready = pods.into_iter().flatten().filter(|(_, pod)| pod.is_ready);
    ready.map(|(uid, _)| uid.clone()).collect()
}

fn size(artefact: &Artefact) -> usize {
    artefact.shard_files().map(|(_, _, file)| file.len()).sum()
}
