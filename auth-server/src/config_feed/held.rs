//! What this server holds, and the step to the next configuration: everything is verified before anything changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oidc::config::{KeySet, KeyStage, Resource};
use oidc::served::{Change, Served};
use snapshot::{
    Artefact, Fleet, Hash, Head, Manifest, ManifestError, Payload, Refusal, ResourceId, ServerVersion, Trust,
};

/// What this server was offered last and what it made of it.
#[derive(Debug, Default)]
pub(super) struct Held {
    position: Option<(Head, Hash)>,
    resources: BTreeMap<ResourceId, Slot>,
}

/// One resource.
#[derive(Clone, Debug)]
struct Slot {
    /// The version that the configuration has.
    offered: Hash,
    /// The version that is served.
    served: Option<Hash>,
    /// Why the two differ.
    refusal: Option<Refusal>,
}

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
    pub(super) current: Payload,
    /// What to serve when the current version is no good.
    pub(super) former: Option<Payload>,
}

/// What an update led to.
#[derive(Debug)]
pub(super) struct Applied {
    /// The configuration to serve now; `None` when nothing changed.
    pub(super) served: Option<Arc<Served>>,
    /// What was refused by this update.
    pub(super) refused: Vec<(ResourceId, Refusal)>,
}

/// Why an update is refused whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpdateError {
    /// The manifest says that it is not for this server, or not for now.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The pieces do not add up to what the manifest says.
    #[error("the update does not add up to the content that its manifest gives")]
    WrongContent,
}

impl UpdateError {
    /// A short name for answers and metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Manifest(error) => error.code(),
            Self::WrongContent => "WrongContent",
        }
    }

    /// Whether the refused configuration may be newer than what is served, so that this server lags behind.
    pub(super) fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Manifest(ManifestError::ServerTooOld { .. }) | Self::WrongContent
        )
    }
}

impl Update {
    /// What leads from `held` to `artefact`.
    pub(super) fn from_artefact(artefact: &Artefact, held: &Held) -> Self {
        let entries = artefact.entries();
        let removed = held
            .resources
            .keys()
            .filter(|id| !entries.contains_key(id))
            .cloned()
            .collect();
        let differs = |id: &ResourceId, version| held.resources.get(id).is_none_or(|slot| slot.offered != version);
        let changed = entries
            .into_iter()
            .filter(|(id, entry)| differs(id, entry.current.version()));
        let piece = |(id, entry): (&ResourceId, &snapshot::Entry)| {
            let piece = Piece {
                current: entry.current.clone(),
                former: entry.former.clone(),
            };
            (id.clone(), piece)
        };
        Self {
            manifest: artefact.manifest().clone(),
            pieces: changed.map(piece).collect(),
            removed,
        }
    }
}

impl Held {
    /// Position of what is held.
    pub(super) fn head(&self) -> Option<Head> {
        self.position.map(|(head, _)| head)
    }

    /// Position and content of what is held.
    pub(super) fn position(&self) -> Option<(Head, Hash)> {
        self.position
    }

    /// The versions that are served.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&ResourceId, Hash)> {
        self.resources.iter().filter_map(|(id, slot)| Some((id, slot.served?)))
    }

    /// What is not served as the configuration says.
    pub(super) fn rejected(&self) -> BTreeMap<&ResourceId, &Refusal> {
        self.resources
            .iter()
            .filter_map(|(id, slot)| Some((id, slot.refusal.as_ref()?)))
            .collect()
    }

    /// Verifies `update` and makes of it the configuration that follows `live`. On an error nothing has changed.
    pub(super) fn apply(
        &mut self,
        update: Update,
        fleet: &Fleet,
        version: ServerVersion,
        live: &Served,
    ) -> Result<Applied, UpdateError> {
        let Update {
            manifest,
            pieces,
            removed,
        } = update;
        manifest.check(&Trust {
            fleet,
            server: version,
            held: self.position,
        })?;
        let position = (manifest.head, manifest.content);
        if self.position.is_some_and(|(_, content)| content == manifest.content) {
            self.position = Some(position);
            return Ok(Applied {
                served: None,
                refused: Vec::new(),
            });
        }
        self.check_content(&manifest, &pieces, &removed)?;

        let mut changes = Vec::new();
        let mut refused = Vec::new();
        for id in &removed {
            if self.resources.remove(id).is_some_and(|slot| slot.served.is_some()) {
                changes.push(removal(id));
            }
        }
        for (id, piece) in pieces {
            let served = self.resources.get(&id).and_then(|slot| slot.served);
            let (slot, change) = judge(&id, piece, served);
            changes.extend(change);
            refused.extend(slot.refusal.clone().map(|refusal| (id.clone(), refusal)));
            self.resources.insert(id, slot);
        }
        self.position = Some(position);
        Ok(Applied {
            served: Some(Arc::new(live.with(changes))),
            refused,
        })
    }

    fn check_content(
        &self,
        manifest: &Manifest,
        pieces: &BTreeMap<ResourceId, Piece>,
        removed: &BTreeSet<ResourceId>,
    ) -> Result<(), UpdateError> {
        let kept = self.resources.iter().filter(|(id, _)| !removed.contains(*id));
        let mut versions: BTreeMap<&ResourceId, Hash> = kept.map(|(id, slot)| (id, slot.offered)).collect();
        versions.extend(pieces.iter().map(|(id, piece)| (id, piece.current.version())));
        let content = Manifest::content_of(versions.iter().map(|(id, version)| (*id, *version)));
        if content == manifest.content && versions.is_empty() == manifest.empty {
            Ok(())
        } else {
            Err(UpdateError::WrongContent)
        }
    }
}

/// Decides what to serve of a resource: its current version, else the former one, else what is `served`.
fn judge(id: &ResourceId, piece: Piece, served: Option<Hash>) -> (Slot, Option<Change>) {
    let Piece { current, former } = piece;
    let offered = current.version();
    let settled = Slot {
        offered,
        served: Some(offered),
        refusal: None,
    };
    if served == Some(offered) {
        return (settled, None);
    }
    match acceptable(id, &current) {
        Ok(resource) => (settled, Some(Change::Put(resource))),
        Err((code, message)) => {
            let refusal = Refusal {
                version: offered,
                code: code.to_owned(),
                message,
            };
            let former = former.filter(|former| served != Some(former.version()));
            let fallback = former.and_then(|former| Some((former.version(), acceptable(id, &former).ok()?)));
            let (served, change) = match fallback {
                Some((version, resource)) => (Some(version), Some(Change::Put(resource))),
                None => (served, None),
            };
            let slot = Slot {
                offered,
                served,
                refusal: Some(refusal),
            };
            (slot, change)
        }
    }
}

/// The resource that a payload is, or a short name and a sentence why it cannot be served.
fn acceptable(id: &ResourceId, payload: &Payload) -> Result<Resource, (&'static str, String)> {
    let resource = snapshot::decode(id, payload).map_err(|error| ("Invalid", error.to_string()))?;
    match &resource {
        Resource::Keys(keys) if !has_active_keys(keys) => Err((
            "NoActiveKey",
            "no active signing key or no active sealing key".to_owned(),
        )),
        Resource::Keys(_) | Resource::Realm(_) | Resource::Client(_) => Ok(resource),
    }
}

fn has_active_keys(keys: &KeySet) -> bool {
    let signs = keys
        .signing
        .iter()
        .any(|key| key.stage == KeyStage::Active && key.private.is_some());
    let seals = keys.sealing.iter().any(|key| key.stage == KeyStage::Active);
    signs && seals
}

fn removal(id: &ResourceId) -> Change {
    match id {
        ResourceId::Realm(realm) => Change::RemoveRealm(*realm),
        ResourceId::Keys(realm) => Change::RemoveKeys(*realm),
        ResourceId::Client(realm, client_id) => Change::RemoveClient(*realm, client_id.to_string()),
    }
}
