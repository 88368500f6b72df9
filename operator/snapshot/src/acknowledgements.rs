//! What servers said that they serve.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash::Hash;
use crate::id::ResourceId;
use crate::manifest::{Head, Manifest};
use crate::shard::Refusal;

/// What the servers of a fleet answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgements {
    /// The replicas that people are sent to, by pod UID.
    pub ready: BTreeSet<String>,
    /// The last answer of each connected replica, by pod UID.
    pub by_pod: BTreeMap<String, Acknowledgement>,
    /// The highest position that an authenticated server ever named.
    pub highest: Option<Head>,
}

/// What one server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The position of the configuration.
    pub head: Head,
    /// Its content hash.
    pub content: Hash,
    /// What of it is not served as it says.
    pub rejected: BTreeMap<ResourceId, Refusal>,
}

/// The same, to be asked about thousands of resources.
#[derive(Clone, Debug, Default)]
pub struct Answers<'a> {
    /// Of each ready replica, where there is one.
    ready: Vec<Option<&'a Acknowledgement>>,
    /// Of every replica that does not serve everything as it should.
    rejecting: Vec<&'a Acknowledgement>,
}

impl Acknowledgements {
    /// The answers, found for each ready replica.
    pub fn answers(&self) -> Answers<'_> {
        let rejecting = self.by_pod.values().filter(|answer| !answer.rejected.is_empty());
        Answers {
            ready: self.ready.iter().map(|pod| self.by_pod.get(pod)).collect(),
            rejecting: rejecting.collect(),
        }
    }

    /// A position above `manifest` when a server has other content from the same position: it would refuse that of the
    /// manifest for ever. Two histories had the same beginning and went on differently.
    pub(crate) fn contradiction(&self, manifest: &Manifest) -> Option<Head> {
        let contradicts = |answer: &Acknowledgement| answer.head == manifest.head && answer.content != manifest.content;
        self.by_pod.values().any(contradicts).then_some(Head {
            generation: manifest.head.generation.saturating_add(1),
            ..manifest.head
        })
    }
}

impl Answers<'_> {
    /// How many replicas are ready.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many of the ready replicas serve what was committed at `since`, or later in the same epoch.
    pub fn serving(&self, since: Head) -> usize {
        self.of_ready().filter(|answer| answer.reaches(since)).count()
    }

    /// How many of the ready replicas are known to serve something older than what was committed at `since`. Those that
    /// have not answered are not among them.
    pub fn behind(&self, since: Head) -> usize {
        self.of_ready().filter(|answer| !answer.reaches(since)).count()
    }

    /// Whether there are ready replicas and all of them accepted `version` of `id`, committed at `since`.
    pub fn accepted(&self, id: &ResourceId, version: Hash, since: Head) -> bool {
        let accepts = |answer: Option<&Acknowledgement>| answer.is_some_and(|it| it.accepts(id, version, since));
        !self.ready.is_empty() && self.ready.iter().copied().all(accepts)
    }

    /// Whether one of the ready replicas accepted `version` of `id`, committed at `since`.
    pub(crate) fn is_accepted_somewhere(&self, id: &ResourceId, version: Hash, since: Head) -> bool {
        self.of_ready().any(|answer| answer.accepts(id, version, since))
    }

    /// Why a replica, ready or not, refused `version` of `id`.
    pub fn refusal(&self, id: &ResourceId, version: Hash) -> Option<&Refusal> {
        let mut refusals = self.rejecting.iter().filter_map(|answer| answer.rejected.get(id));
        refusals.find(|refusal| refusal.version == version)
    }

    fn of_ready(&self) -> impl Iterator<Item = &Acknowledgement> {
        self.ready.iter().flatten().copied()
    }
}

impl Acknowledgement {
    fn reaches(&self, since: Head) -> bool {
        self.head.epoch == since.epoch && self.head.generation >= since.generation
    }

    fn accepts(&self, id: &ResourceId, version: Hash, since: Head) -> bool {
        let refusal = self.rejected.get(id);
        self.reaches(since) && refusal.is_none_or(|refusal| refusal.version != version)
    }
}
