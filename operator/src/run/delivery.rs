//! Delivery in a cluster: Secrets ↔ [`Publisher`], on every replica; commits and certificates, on the leader.
//!
//! Every replica calls [`Delivery::observe`] with each new world: it serves what the Secrets say is committed, trusts
//! the authorities that they hold, and takes the pods that the watch shows. The leader resolves against
//! [`Delivery::artefacts`] and [`Delivery::acknowledgements`], then calls [`Delivery::keep_peers`] and
//! [`Delivery::commit`]. What this replica wrote itself counts at once, ahead of the watch.

mod bucket;
mod health;
pub mod issuer;
mod overlay;
mod staleness;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::auth_server::PeerTls;
use crds::manifests::Kind;
use oidc::Timestamp;
use rustls::pki_types::CertificateDer;
use snapshot::{Acknowledgements, Artefact, Fleet, Head};
use tokio::sync::watch;

use crate::apply::Applier;
use crate::apply::secret::WriteError;
use crate::build::Owner;
use crate::build::artefact::{self, SecretWrite, SeenSecret, Stored};
use crate::build::peers::{self, FleetPeers};
use crate::log::chain;
use crate::pki::{Leaf, PkiError, Succession};
use crate::publish::{Acks, FleetAcks, FleetFeed, Limits, Publisher, Roster, TlsError, TokenVerifier};
use crate::world::{ObjectId, ObjectKey, SecretObject, World};
use bucket::Bucket;
use overlay::Overlay;
use staleness::Staleness;
use trouble::{Part, Troubles};

/// The audience of the tokens by which pods are recognised.
pub const AUDIENCE: &str = "nauthera-operator";

/// How long a name that is held by somebody else's Secret is left alone before it is tried again.
const FOREIGN_PAUSE: Duration = Duration::from_mins(1);

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

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Everything is as it should be.
    Unchanged,
    /// It is committed, and streams have it.
    Committed {
        /// Bytes that were written.
        bytes: usize,
    },
    /// Commits come too fast: try again after this time, with what is then to be committed.
    Later(Duration),
    /// Somebody else wrote first: resolve again once the watch shows what.
    Outdated,
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

    /// Looks after authorities and certificates: the leader, with every world. Writes only what is due. The next
    /// [`Delivery::observe`] takes what was written.
    pub async fn keep_peers(&mut self, world: &World, applier: &Applier, now: Timestamp) -> Result<(), DeliveryError> {
        let operators = match self.keep_operators(world, applier, now).await {
            Ok(Some(operators)) => operators,
            Ok(None) => return Ok(()),
            Err(error) => {
                // Without the operators' authority no fleet gets its certificates.
                for key in world.auth_servers.keys() {
                    self.note(key, Part::Peers, &error);
                }
                return Err(error);
            }
        };
        let mut first_error = None;
        for (key, server) in &world.auth_servers {
            let Some(owner) = owner(world, key) else {
                continue;
            };
            let fleet = FleetPeers {
                owner: &owner,
                peer_tls: &server.spec.peer_tls,
            };
            let seen = |key: &ObjectKey| self.secrets.seen(world, key);
            let writes = peers::fleet_writes(&self.namespace, &fleet, &operators, seen, now);
            let outcome = match writes.map_err(pki(&key.to_string())) {
                Ok(writes) => self.put_all(applier, writes).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => self.troubles.clear(key, Part::Peers),
                // One fleet's trouble is not another's.
                Err(error) => {
                    self.note(key, Part::Peers, &error);
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Looks after the operators' authority; `None` while there is none to see.
    async fn keep_operators(
        &mut self,
        world: &World,
        applier: &Applier,
        now: Timestamp,
    ) -> Result<Option<Succession>, DeliveryError> {
        let acks = self.acks().borrow().clone();
        let reported: Vec<_> = acks.fleets.values().flat_map(FleetAcks::bundles).collect();
        let key = peers::operator_authority_secret(&self.namespace);
        let seen = self.secrets.seen(world, &key);
        let write = peers::operator_write(&self.namespace, seen, &reported, now).map_err(pki("operators"))?;
        if let Some(write) = write {
            self.put(applier, write).await?;
        }
        self.operators(world).transpose().map_err(pki("operators"))
    }

    /// Commits `target`, which was resolved from [`Delivery::artefacts`], to the Secrets of `fleet`, and hands it to
    /// the streams of this replica: the leader, with every resolution. Writes nothing when everything is as it should
    /// be, and puts back what was altered by hand.
    pub async fn commit(
        &mut self,
        world: &World,
        key: &ObjectKey,
        target: &Artefact,
        applier: &Applier,
    ) -> Result<Commit, DeliveryError> {
        let (Some(owner), Some(served)) = (owner(world, key), self.fleets.get_mut(key)) else {
            return Ok(Commit::Outdated);
        };
        let plan = artefact::Commit {
            owner: &owner,
            committed: self.artefacts.get(key),
            target,
        };
        let writes = plan.writes(|key| self.secrets.seen(world, key));
        if writes.is_empty() {
            self.troubles.clear(key, Part::Configuration);
            return Ok(Commit::Unchanged);
        }
        if let Some(pause) = writes.iter().find_map(|write| paused(&self.foreign, &write.key)) {
            return Ok(Commit::Later(pause));
        }
        if let Err(pause) = served.bucket.take(Instant::now()) {
            return Ok(Commit::Later(pause));
        }
        let bytes = writes.iter().map(SecretWrite::bytes).sum();
        if let Err(error) = self.put_all(applier, writes).await {
            self.note(key, Part::Configuration, &error);
            return match error {
                DeliveryError::Write { source, .. } if source.is_outdated() => Ok(Commit::Outdated),
                error => Err(error),
            };
        }
        self.troubles.clear(key, Part::Configuration);
        self.artefacts.insert(key.clone(), target.clone());
        if let Some(served) = self.fleets.get_mut(key) {
            served.counts.commits += 1;
            served.counts.written_bytes += bytes as u64;
            served.damaged = None;
            served.serve(target);
        }
        Ok(Commit::Committed { bytes })
    }

    /// The operators' authority; `None` while there is none.
    fn operators(&self, world: &World) -> Option<Result<Succession, PkiError>> {
        let key = peers::operator_authority_secret(&self.namespace);
        Some(peers::authority(&self.secrets.seen(world, &key)?.object))
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

    async fn put_all(&mut self, applier: &Applier, writes: Vec<SecretWrite>) -> Result<(), DeliveryError> {
        for write in writes {
            self.put(applier, write).await?;
        }
        Ok(())
    }

    async fn put(&mut self, applier: &Applier, write: SecretWrite) -> Result<(), DeliveryError> {
        let key = write.key.clone();
        if paused(&self.foreign, &key).is_some() {
            return Err(DeliveryError::Foreign(key));
        }
        match applier.put_secret(&write).await {
            Ok(version) => {
                self.foreign.remove(&key);
                self.secrets.wrote(write, version);
                Ok(())
            }
            Err(WriteError::Foreign) => {
                self.foreign.insert(key.clone(), Instant::now());
                Err(DeliveryError::Foreign(key))
            }
            Err(source) => Err(DeliveryError::Write { key, source }),
        }
    }
}

fn pki(subject: &str) -> impl FnOnce(PkiError) -> DeliveryError + use<> {
    let subject = subject.to_owned();
    move |source| DeliveryError::Pki { subject, source }
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

fn paused(foreign: &BTreeMap<ObjectKey, Instant>, key: &ObjectKey) -> Option<Duration> {
    let left = FOREIGN_PAUSE.checked_sub(foreign.get(key)?.elapsed());
    left.filter(|left| !left.is_zero())
}

fn size(artefact: &Artefact) -> usize {
    artefact.shard_files().map(|(_, _, file)| file.len()).sum()
}
