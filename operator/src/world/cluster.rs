//! A cluster as a source of the [`World`]: caches that watches keep, and named Secrets that are read now and then.
//!
//! [`Cache`] holds what is known and knows whether it is complete: a world is never made of lists that are not finished.
//! A kind that cannot be read stays as it was last seen and is named in [`Cluster::unreadable`]. Writes are not here;
//! they are `apply`'s.

mod changes;
mod entry;
mod kinds;
mod leaving;
mod references;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::admission::Admission;
use kube::api::DynamicObject;
use tokio::sync::watch;

use super::{ChildId, ChildKind, Cluster, ObjectId, ObjectKey, Pod, Unreadable, World};
use changes::Changes;
use entry::Entry;
use references::Named;

pub use kinds::{Namespaces, Watched, api_resource};
pub use references::{ABSENT_AGE, ReadError, References};
pub use watching::watch_all;

/// Part of a kind that one watch covers: a namespace, or all of them.
pub(crate) type Scope = (Watched, Option<String>);

fn covers((_, namespace): &Scope, key: &ObjectKey) -> bool {
    namespace.as_ref().is_none_or(|namespace| key.namespace == *namespace)
}

/// How far a watch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Its first list is not finished.
    Listing,
    /// Its list is finished and followed.
    Complete,
    /// It is refused; what was seen before stays.
    Unreadable(Unreadable),
}

/// What watches have seen.
pub struct Cache {
    admission: Admission,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    restarts: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    progress: BTreeMap<Scope, Progress>,
    entries: BTreeMap<Watched, BTreeMap<ObjectKey, Entry>>,
    named_secrets: BTreeMap<ObjectKey, Option<Named>>,
    foreign: BTreeSet<ChildId>,
    /// Custom resources that are gone, how, and since when.
    gone: BTreeMap<ObjectId, (End, Instant)>,
    changes: Changes,
}

/// Where a version of an object is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Watch,
    /// The answer to a write of this process.
    Written,
}

/// How a custom resource went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was seen being deleted.
    Deleted,
    /// The definition of its kind was removed, and all objects with it.
    Swept,
}

/// How long it is remembered how an object went: longer than mass loss is held back.
const REMEMBERED: Duration = Duration::from_mins(30);

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty cache of these namespaces and of the Secrets in the operator's `own`. It is complete once each of its lists was finished or refused.
    pub fn new(namespaces: &Namespaces, own: &str, admission: Admission) -> Self {
        let progress = namespaces
            .scopes(own)
            .into_iter()
            .map(|scope| (scope, Progress::Listing));
        let state = State {
            progress: progress.collect(),
            ..State::default()
        };
        Self {
            admission,
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            restarts: AtomicU64::new(0),
        }
    }

    /// Changes with every change of what is known; whose it was, [`Cache::take_changes`] tells.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether somebody else than this process has changed anything since this was last asked. To be asked when nothing
    /// is being written: what was written is known by the answers only.
    pub fn take_changes(&self) -> bool {
        self.state().changes.take()
    }

    /// How often a watch had to list anew or was refused since the start.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Whether every list was finished or refused.
    pub fn is_complete(&self) -> bool {
        self.state().is_complete()
    }

    /// The kinds whose first list is not finished.
    pub fn waiting_for(&self) -> Vec<String> {
        let state = self.state();
        let listing = state
            .progress
            .iter()
            .filter(|(_, progress)| **progress == Progress::Listing);
        listing
            .map(|((watched, namespace), _)| match namespace {
                Some(namespace) => format!("{} in {namespace}", watched.name()),
                None => watched.name().to_owned(),
            })
            .collect()
    }

    /// Everything that is known; `None` until it is complete.
    pub fn world(&self) -> Option<World> {
        let state = self.state();
        state.is_complete().then(|| state.world())
    }

    /// Notes a Secret that was just written in place of a version that was known, ahead of the watch that will show it.
    /// No change: whoever wrote it has drawn the conclusions.
    pub fn note_secret(&self, object: DynamicObject) {
        let secret = Watched::Child(ChildKind::Secret);
        self.put(secret, object, Origin::Written, |_, _| false);
    }

    /// Notes an object whose status was just written, ahead of the watch that will show it. A change only where somebody
    /// has edited the object meanwhile.
    pub fn note_status(&self, kind: crds::Kind, object: DynamicObject) {
        self.put(Watched::Custom(kind), object, Origin::Written, |present, new| {
            present.is_none_or(|present| !present.differs_in_status_only(new))
        });
    }

    /// Notes which names of desired children are held by objects without our label.
    pub fn set_foreign(&self, foreign: BTreeSet<ChildId>) {
        let is_new = self.state().foreign != foreign;
        if is_new {
            self.change(|state| state.foreign = foreign);
        }
    }

    fn apply(&self, watched: Watched, object: DynamicObject) {
        self.put(watched, object, Origin::Watch, |_, _| true);
    }

    /// Takes an object unless what is known is as new: what was noted ahead of the watch is what the watch still has to
    /// say. `is_change`: whether something may follow from it, in place of what was known.
    fn put(
        &self,
        watched: Watched,
        object: DynamicObject,
        origin: Origin,
        is_change: impl FnOnce(Option<&Entry>, &Entry) -> bool,
    ) {
        let Some((key, entry)) = self.entry(watched, object) else {
            return;
        };
        let is_change = {
            let mut state = self.state();
            let State { entries, changes, .. } = &mut *state;
            let entries = entries.entry(watched).or_default();
            let present = entries.get(&key);
            let version = entry.version().map(|(_, version)| version);
            if present.is_some_and(|present| present.is_as_new_as(&entry)) {
                if origin == Origin::Written {
                    changes.written(watched, key, version);
                }
                return;
            }
            let is_change = is_change(present, &entry);
            if is_change {
                changes.shown(watched, key.clone(), version);
            }
            entries.insert(key, entry);
            is_change
        };
        if is_change {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// What is kept of an object.
    fn entry(&self, watched: Watched, object: DynamicObject) -> Option<(ObjectKey, Entry)> {
        let known = |key: &ObjectKey| self.state().entries.get(&watched)?.get(key).cloned();
        Entry::new(watched, object, &self.admission, known)
    }

    fn remove(&self, watched: Watched, key: &ObjectKey, end: End) {
        self.change(|state| {
            if let Some(entries) = state.entries.get_mut(&watched) {
                entries.remove(key);
            }
            if let Watched::Custom(kind) = watched {
                state.note_end(ObjectId { kind, key: key.clone() }, end);
            }
        });
    }

    /// How many objects of a scope are known.
    fn count(&self, scope: &Scope) -> usize {
        let state = self.state();
        let keys = state.entries.get(&scope.0).into_iter().flat_map(BTreeMap::keys);
        keys.filter(|key| covers(scope, key)).count()
    }

    /// Replaces what a scope holds by a finished list.
    fn replace(&self, scope: &Scope, list: BTreeMap<ObjectKey, Entry>) {
        let (watched, namespace) = scope;
        self.change(|state| {
            let before = state.progress.insert(scope.clone(), Progress::Complete);
            if let Some(Progress::Unreadable(_)) = before {
                tracing::info!(kind = watched.name(), namespace, "can be read again");
            }
            let entries = state.entries.entry(*watched).or_default();
            let former: Vec<ObjectKey> = entries.keys().filter(|key| covers(scope, key)).cloned().collect();
            entries.retain(|key, _| !covers(scope, key));
            let missing = former.into_iter().filter(|key| !list.contains_key(key));
            // What the former definition took along without anybody seeing it.
            if let (Some(Progress::Unreadable(Unreadable::NotInstalled)), Watched::Custom(kind)) = (before, *watched) {
                for key in missing {
                    state.note_end(ObjectId { kind, key }, End::Swept);
                }
            }
            state.entries.entry(*watched).or_default().extend(list);
        });
    }

    /// Notes that a scope cannot be read. Whether that is news.
    fn refuse(&self, scope: &Scope, why: Unreadable) -> bool {
        let is_news = self.state().progress.get(scope) != Some(&Progress::Unreadable(why));
        if is_news {
            self.change(|state| {
                state.progress.insert(scope.clone(), Progress::Unreadable(why));
            });
        }
        is_news
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.changes.note();
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_end(&mut self, id: ObjectId, end: End) {
        self.gone.retain(|_, (_, since)| since.elapsed() < REMEMBERED);
        self.gone.insert(id, (end, Instant::now()));
    }

    /// Custom resources that went so.
    fn gone(&self, how: End) -> BTreeSet<ObjectId> {
        let gone = self.gone.iter().filter(|(_, (end, _))| *end == how);
        gone.map(|(id, _)| id.clone()).collect()
    }

    fn is_complete(&self) -> bool {
        !self.progress.values().any(|progress| *progress == Progress::Listing)
    }

    fn world(&self) -> World {
        let mut world = World::default();
        let mut cluster = Cluster {
            foreign: self.foreign.clone(),
            deleted: self.gone(End::Deleted),
            swept: self.gone(End::Swept),
            ..Cluster::default()
        };
        for (key, named) in &self.named_secrets {
            if let Some(named) = named {
                world.secrets.insert(key.clone(), Arc::clone(&named.secret));
                cluster.named_versions.insert(key.clone(), named.version.clone());
            }
        }
        let mut ready = BTreeMap::new();
        for (watched, entries) in &self.entries {
            for (key, entry) in entries {
                add(&mut world, &mut cluster, &mut ready, *watched, key, entry);
            }
        }
        for ((fleet, uid), name) in ready {
            let pods = cluster.pods.entry(fleet).or_default();
            let pod = pods.entry(uid).or_insert(Pod { name, is_ready: false });
            pod.is_ready = true;
        }
        for ((watched, _), progress) in &self.progress {
            if let Progress::Unreadable(why) = progress {
                cluster.unreadable.insert(watched.name().to_owned(), *why);
            }
        }
        if !self.progress.contains_key(&(Watched::Namespace, None)) {
            cluster
                .unreadable
                .insert(Watched::Namespace.name().to_owned(), Unreadable::Forbidden);
        }
        world.cluster = Some(cluster);
        world
    }
}

/// Pods that people are sent to, by fleet and UID, with their names.
type ReadyPods = BTreeMap<(ObjectKey, String), String>;

fn add(
    world: &mut World,
    cluster: &mut Cluster,
    ready: &mut ReadyPods,
    watched: Watched,
    key: &ObjectKey,
    entry: &Entry,
) {
    match entry {
        Entry::AuthServer(object) => {
            world.auth_servers.insert(key.clone(), Arc::clone(object));
        }
        Entry::Realm(object) => {
            world.realms.insert(key.clone(), Arc::clone(object));
        }
        Entry::Client(object) => {
            world.clients.insert(key.clone(), Arc::clone(object));
        }
        Entry::Undecodable { reason, raw } => {
            if let Watched::Custom(kind) = watched {
                let id = ObjectId { kind, key: key.clone() };
                cluster.raw.insert(id.clone(), Arc::clone(raw));
                world.undecodable.insert(id, reason.clone());
            }
        }
        Entry::Child(object) => {
            if let Watched::Child(kind) = watched {
                cluster
                    .children
                    .insert(ChildId { kind, key: key.clone() }, Arc::clone(object));
            }
        }
        Entry::Secret { metadata, secret } => {
            cluster.secrets.insert(key.clone(), Arc::clone(metadata));
            world.secrets.insert(key.clone(), Arc::clone(secret));
        }
        Entry::Pod { fleet, uid, trouble } => {
            if let Some(trouble) = trouble {
                cluster
                    .troubles
                    .entry(fleet.clone())
                    .or_default()
                    .push((**trouble).clone());
            }
            let pods = cluster.pods.entry(fleet.clone()).or_default();
            let name = key.name.clone();
            pods.insert(uid.clone(), Pod { name, is_ready: false });
        }
        Entry::Slice { fleet, ready: slice } => {
            let pods = slice
                .iter()
                .map(|(uid, name)| ((fleet.clone(), uid.clone()), name.clone()));
            ready.extend(pods);
        }
        Entry::Namespace { labels, is_terminating } => {
            world.namespaces.insert(key.name.clone(), labels.clone());
            if *is_terminating {
                cluster.terminating.insert(key.name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
