//! What leads from the configuration that is held to the next one: resources as their bytes say, not judged yet.
//!
//! Resources are read as they arrive, so that of a large configuration never more than a part lies in memory twice.

use std::collections::{BTreeMap, BTreeSet};

use oidc::config::{Resource, Shared};
use snapshot::{Entry, Hash, Manifest, Payload, ResourceError, ResourceId, Shard};

use super::held::Held;

/// A whole configuration as its manifest and what differs from what is held.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) manifest: Manifest,
    pub(super) pieces: BTreeMap<ResourceId, Piece>,
    pub(super) removed: BTreeSet<ResourceId>,
}

/// A resource to serve.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) current: Offer,
    /// What to serve when the current version is no good.
    pub(super) former: Option<Box<Offer>>,
}

/// A version of a resource.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) version: Hash,
    /// What its bytes say.
    pub(super) resource: Result<Box<Resource>, Box<ResourceError>>,
}

impl Update {
    /// The update to a configuration of which no shard has been added yet: it removes all that is held.
    pub(super) fn new(manifest: Manifest, held: &Held) -> Self {
        Self {
            manifest,
            pieces: BTreeMap::new(),
            removed: held.ids().cloned().collect(),
        }
    }

    /// Adds what is in a shard.
    pub(super) fn add(&mut self, shard: Shard, held: &mut Held) {
        for (id, entry) in shard.entries {
            self.removed.remove(&id);
            let Entry {
                since_generation: _,
                current,
                former,
            } = entry;
            if !held.is_offered(&id, current.version()) {
                let piece = Piece::read(&id, &current, former.as_ref(), &mut held.shared);
                self.pieces.insert(id, piece);
            }
        }
    }
}

impl Piece {
    /// Reads the versions of the resource `id`.
    pub(super) fn read(id: &ResourceId, current: &Payload, former: Option<&Payload>, shared: &mut Shared) -> Self {
        Self {
            current: Offer::read(id, current, shared),
            former: former.map(|former| Box::new(Offer::read(id, former, shared))),
        }
    }
}

impl Offer {
    fn read(id: &ResourceId, payload: &Payload, shared: &mut Shared) -> Self {
        let resource = snapshot::decode(id, payload).map(|mut resource| {
            shared.share(&mut resource);
            Box::new(resource)
        });
        Self {
            version: payload.version(),
            resource: resource.map_err(Box::new),
        }
    }
}
