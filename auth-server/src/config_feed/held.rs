//! What this server holds, and the step to the next configuration: everything is verified before anything changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oidc::config::{KeySet, KeyStage, Resource, Shared};
use oidc::id::RealmId;
use oidc::keys::KeyFault;
use oidc::served::{Change, Served};
use snapshot::{Counts, Fleet, Hash, Head, Manifest, ManifestError, Refusal, ResourceId, ServerVersion, Trust};

use super::proof::Proof;
use super::update::{Offer, Piece, Update};

/// Name of the refusal of a key set that does not sign.
const UNUSABLE_KEY: &str = "UnusableKey";

/// What this server was offered last and what it made of it.
#[derive(Debug, Default)]
pub(super) struct Held {
    position: Option<(Head, Hash)>,
    resources: BTreeMap<ResourceId, Slot>,
    /// What the resources that are served, or are about to be, have in common.
    pub(super) shared: Shared,
    /// Realms whose keys were taken at their word, or were found to be no good since.
    unproven: BTreeSet<RealmId>,
}

/// One resource.
#[derive(Debug)]
struct Slot {
    /// The version that the configuration has. It is served unless something is wrong with it.
    offered: Hash,
    fault: Option<Box<Fault>>,
}

/// What is wrong with the offered version of a resource.
#[derive(Clone, Debug)]
struct Fault {
    /// The version that is served: another one, or the offered one when nobody knew at first.
    served: Option<Hash>,
    refusal: Refusal,
}

impl Slot {
    /// The version that is served.
    fn served(&self) -> Option<Hash> {
        self.fault.as_ref().map_or(Some(self.offered), |fault| fault.served)
    }

    /// Why the offered version is no good.
    fn refusal(&self) -> Option<&Refusal> {
        self.fault.as_ref().map(|fault| &fault.refusal)
    }
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

impl Held {
    /// Position of what is held.
    pub(super) fn head(&self) -> Option<Head> {
        self.position.map(|(head, _)| head)
    }

    /// Position and content of what is held.
    pub(super) fn position(&self) -> Option<(Head, Hash)> {
        self.position
    }

    /// What it consists of.
    pub(super) fn ids(&self) -> impl Iterator<Item = &ResourceId> {
        self.resources.keys()
    }

    /// Whether `version` is the one of that resource.
    pub(super) fn is_offered(&self, id: &ResourceId, version: Hash) -> bool {
        self.resources.get(id).is_some_and(|slot| slot.offered == version)
    }

    /// The versions that are served.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&ResourceId, Hash)> {
        self.resources
            .iter()
            .filter_map(|(id, slot)| Some((id, slot.served()?)))
    }

    /// Whether nothing was ever offered.
    pub(super) fn is_empty(&self) -> bool {
        self.position.is_none()
    }

    /// Realms whose keys prove nothing about others.
    pub(super) fn unproven(&self) -> &BTreeSet<RealmId> {
        &self.unproven
    }

    /// Takes what came of trying the keys of a realm that had been taken at their word. Whether they are refused now; they
    /// stay served, because there is nothing better.
    pub(super) fn tried(&mut self, realm: RealmId, outcome: Result<(), &KeyFault>) -> bool {
        let slot = self.resources.get_mut(&ResourceId::Keys(realm));
        // Other keys may have come meanwhile.
        let Some(slot) = slot.filter(|_| self.unproven.contains(&realm)) else {
            return false;
        };
        match outcome {
            Ok(()) => {
                self.unproven.remove(&realm);
                false
            }
            Err(fault) => {
                slot.fault = Some(Box::new(Fault {
                    served: slot.served(),
                    refusal: unusable(slot.offered, fault),
                }));
                true
            }
        }
    }

    /// What is not served as the configuration says, or served although it is no good.
    pub(super) fn rejected(&self) -> BTreeMap<&ResourceId, &Refusal> {
        self.resources
            .iter()
            .filter_map(|(id, slot)| Some((id, slot.refusal()?)))
            .collect()
    }

    /// Verifies `update`, of whose keys `proof` speaks, and makes of it the configuration that follows `live`. On an error
    /// nothing has changed.
    pub(super) fn apply(
        &mut self,
        update: Update,
        proof: &Proof,
        (fleet, version): (&Fleet, ServerVersion),
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
            if self.resources.remove(id).is_some_and(|slot| slot.served().is_some()) {
                changes.push(removal(id));
            }
        }
        let mut slots = Vec::with_capacity(pieces.len());
        for (id, piece) in pieces {
            let (slot, change) = judge(piece, self.resources.get(&id), proof);
            if let (ResourceId::Keys(realm), Some(_)) = (&id, &change) {
                if proof.is_untried(*realm) {
                    self.unproven.insert(*realm);
                } else {
                    self.unproven.remove(realm);
                }
            }
            changes.extend(change);
            refused.extend(slot.refusal().map(|refusal| (id.clone(), refusal.clone())));
            slots.push((id, slot));
        }
        // A tree that is built at once has no half-empty nodes.
        self.resources.append(&mut slots.into_iter().collect());
        self.shared.forget_unused();
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
        versions.extend(pieces.iter().map(|(id, piece)| (id, piece.current.version)));
        let content = Manifest::content_of(versions.iter().map(|(id, version)| (*id, *version)));
        let counts = Counts::of(versions.keys().copied());
        if content == manifest.content && counts == manifest.counts && versions.is_empty() == manifest.empty {
            Ok(())
        } else {
            Err(UpdateError::WrongContent)
        }
    }
}

/// Decides what to serve of a resource: its current version, else the former one, else what is served in `slot`.
fn judge(piece: Piece, slot: Option<&Slot>, proof: &Proof) -> (Slot, Option<Change>) {
    let Piece { current, former } = piece;
    let offered = current.version;
    let served = slot.and_then(Slot::served);
    if served == Some(offered) {
        let fault = slot.and_then(|slot| slot.fault.clone());
        let fault = fault.filter(|fault| fault.refusal.version == offered);
        return (Slot { offered, fault }, None);
    }
    match acceptable(current, proof) {
        Ok(resource) => (Slot { offered, fault: None }, Some(Change::Put(resource))),
        Err(refusal) => {
            let former = former.filter(|former| served != Some(former.version));
            let fallback = former.and_then(|former| Some((former.version, acceptable(*former, proof).ok()?)));
            let (served, change) = match fallback {
                Some((version, resource)) => (Some(version), Some(Change::Put(resource))),
                None => (served, None),
            };
            let fault = Some(Box::new(Fault { served, refusal }));
            (Slot { offered, fault }, change)
        }
    }
}

/// The resource that an offer is, or why it cannot be served.
fn acceptable(offer: Offer, proof: &Proof) -> Result<Box<Resource>, Refusal> {
    let Offer { version, resource } = offer;
    let refused = |code: &str, message: String| Refusal {
        version,
        code: code.to_owned(),
        message,
    };
    let resource = resource.map_err(|error| refused("Invalid", error.to_string()))?;
    match &*resource {
        Resource::Keys(keys) if !has_active_keys(keys) => Err(refused(
            "NoActiveKey",
            "no active signing key or no active sealing key".to_owned(),
        )),
        Resource::Keys(_) => match proof.fault(version) {
            Some(fault) => Err(unusable(version, fault)),
            None => Ok(resource),
        },
        Resource::Realm(_) | Resource::Client(_) => Ok(resource),
    }
}

fn unusable(version: Hash, fault: &KeyFault) -> Refusal {
    Refusal {
        version,
        code: UNUSABLE_KEY.to_owned(),
        message: fault.to_string(),
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
