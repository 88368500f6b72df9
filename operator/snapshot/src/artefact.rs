//! The artefact: manifest and shards together, the whole committed configuration of a fleet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use oidc::config::Resource;
use oidc::id::RealmId;

use crate::hash::{Hash, Parts};
use crate::id::ResourceId;
use crate::manifest::{Counts, Head, Manifest, ManifestError};
use crate::shard::{Entry, Refusal, SHARD_COUNT, Shard, ShardError, Tombstone, shard_file};
use crate::wire;

/// File name and data key of the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";

/// A committed configuration with everything that the next decision needs to know about the past: since when each
/// version is served, which former versions are kept, what servers refused, which realms are gone.
#[derive(Clone, Debug)]
pub struct Artefact {
    manifest: Manifest,
    shards: BTreeMap<u8, Arc<Stored>>,
}

/// A shard with its file.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) shard: Shard,
    pub(crate) file: Vec<u8>,
    pub(crate) hash: Hash,
}

impl Stored {
    pub(crate) fn new(number: u8, shard: Shard) -> Result<Self, ShardError> {
        let file = shard.encode(number)?;
        let hash = Hash::of(&file);
        Ok(Self { shard, file, hash })
    }
}

/// Equal manifests name equal shards.
impl PartialEq for Artefact {
    fn eq(&self, other: &Self) -> bool {
        self.manifest == other.manifest
    }
}

/// Why files are not a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// There is no manifest.
    #[error("there is no {MANIFEST_FILE}")]
    NoManifest,
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest names a shard that is not there (yet).
    #[error("shard {number} is missing")]
    MissingShard {
        /// The shard.
        number: u8,
    },
    /// A shard file is not what the manifest says.
    #[error("shard {number} does not have the hash that the manifest gives")]
    WrongShardHash {
        /// The shard.
        number: u8,
    },
    /// A shard cannot be read.
    #[error("shard {number} cannot be read")]
    Shard {
        /// The shard.
        number: u8,
        /// Why.
        #[source]
        source: ShardError,
    },
    /// Shards and manifest belong to different configurations.
    #[error("the shards are not the content that the manifest gives")]
    WrongContent,
}

impl Artefact {
    /// Assembles a manifest and its shards, which must agree.
    pub(crate) fn assemble(manifest: Manifest, shards: BTreeMap<u8, Arc<Stored>>) -> Self {
        Self { manifest, shards }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The position.
    pub fn head(&self) -> Head {
        self.manifest.head
    }

    /// All resources in order of their names.
    pub fn entries(&self) -> BTreeMap<&ResourceId, &Entry> {
        self.shards.values().flat_map(|stored| &stored.shard.entries).collect()
    }

    /// The numbers of the shards that are not the same here and in `other`.
    pub fn shards_differing_from(&self, other: &Self) -> Vec<u8> {
        let hash = |artefact: &Self, number| artefact.manifest.shards.get(&number).copied();
        (0..SHARD_COUNT)
            .filter(|number| hash(self, *number) != hash(other, *number))
            .collect()
    }

    /// The resources of some shards in order of their names.
    pub fn entries_of_shards(&self, numbers: &[u8]) -> BTreeMap<&ResourceId, &Entry> {
        let shards = numbers.iter().filter_map(|number| self.shards.get(number));
        shards.flat_map(|stored| &stored.shard.entries).collect()
    }

    /// The shard that holds what there is of a resource.
    pub fn shard_of(&self, id: &ResourceId) -> Option<&Shard> {
        self.shards.get(&id.shard()).map(|stored| &stored.shard)
    }

    /// One resource.
    pub fn entry(&self, id: &ResourceId) -> Option<&Entry> {
        self.shard_of(id)?.entries.get(id)
    }

    /// The current version of a resource as a value; `None` when there is none or when its bytes are not valid.
    pub fn resource(&self, id: &ResourceId) -> Option<Resource> {
        wire::decode(id, &self.entry(id)?.current).ok()
    }

    /// What servers refused of a resource, as long as the same version is wanted.
    pub fn refusal(&self, id: &ResourceId) -> Option<&Refusal> {
        self.shard_of(id)?.refused.get(id)
    }

    /// The realms of which rules are served.
    pub fn realms(&self) -> impl Iterator<Item = RealmId> {
        let ids = self.shards.values().flat_map(|stored| stored.shard.entries.keys());
        ids.filter_map(|id| match id {
            ResourceId::Realm(realm) => Some(*realm),
            ResourceId::Keys(_) | ResourceId::Client(..) => None,
        })
    }

    /// Whether the rows of a realm shall be deleted: once it is gone, or because it is.
    pub fn erases(&self, realm: RealmId) -> bool {
        let shard = self.shard_of(&ResourceId::Realm(realm));
        shard.is_some_and(|shard| {
            shard.erase.contains(&realm) || shard.tombstones.get(&realm).is_some_and(|tombstone| tombstone.erase)
        })
    }

    /// Realms that are gone.
    pub fn tombstones(&self) -> impl Iterator<Item = (RealmId, &Tombstone)> {
        let all = self.shards.values().flat_map(|stored| &stored.shard.tombstones);
        all.map(|(realm, tombstone)| (*realm, tombstone))
    }

    pub(crate) fn stored(&self, number: u8) -> Option<&Arc<Stored>> {
        self.shards.get(&number)
    }

    /// Number, file name and content of each shard.
    pub fn shard_files(&self) -> impl Iterator<Item = (u8, String, &[u8])> {
        let shards = self.shards.iter();
        shards.map(|(number, stored)| (*number, shard_file(*number, stored.hash), stored.file.as_slice()))
    }

    /// The files, by name: shards first, the manifest last, which is the order to write them in.
    pub fn to_files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = self
            .shard_files()
            .map(|(_, name, file)| (name, file.to_vec()))
            .collect();
        files.push((MANIFEST_FILE.to_owned(), self.manifest.encode()));
        files
    }

    /// Reads and verifies files. Files that the manifest does not name are ignored: they are a former configuration's.
    /// Whether a server may serve the result is for [`Manifest::check`] to say.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, ArtefactError> {
        let manifest = Manifest::decode(files.get(MANIFEST_FILE).ok_or(ArtefactError::NoManifest)?)?;
        let mut shards = BTreeMap::new();
        for (&number, &hash) in &manifest.shards {
            let file = files
                .get(&shard_file(number, hash))
                .ok_or(ArtefactError::MissingShard { number })?;
            let shard = Shard::verify(number, hash, file)?;
            let file = file.clone();
            shards.insert(number, Arc::new(Stored { shard, file, hash }));
        }
        let artefact = Self { manifest, shards };
        let entries = artefact.entries();
        let counts = Counts::of(entries.keys().copied());
        if content_of(&entries) != artefact.manifest.content || counts != artefact.manifest.counts {
            return Err(ArtefactError::WrongContent);
        }
        Ok(artefact)
    }
}

impl Shard {
    /// The shard that a file is, which a manifest names by number and hash. The resources in it are not judged here.
    pub fn verify(number: u8, hash: Hash, file: &[u8]) -> Result<Self, ArtefactError> {
        if Hash::of(file) != hash {
            return Err(ArtefactError::WrongShardHash { number });
        }
        Self::decode(number, file).map_err(|source| ArtefactError::Shard { number, source })
    }
}

impl Manifest {
    /// The hash that [`Manifest::content`] is, over names and versions in order of the names.
    pub fn content_of<'a>(versions: impl IntoIterator<Item = (&'a ResourceId, Hash)>) -> Hash {
        let mut parts = Parts::new();
        let mut name = String::new();
        for (id, version) in versions {
            name.clear();
            // A String takes everything.
            let _ = write!(name, "{id}");
            parts.add(name.as_bytes());
            parts.add(version.as_bytes());
        }
        parts.finish()
    }
}

pub(crate) fn content_of(entries: &BTreeMap<&ResourceId, &Entry>) -> Hash {
    Manifest::content_of(entries.iter().map(|(id, entry)| (*id, entry.current.version())))
}

impl Counts {
    /// How many of each kind these are.
    pub fn of<'a>(ids: impl IntoIterator<Item = &'a ResourceId>) -> Self {
        let mut counts = Self::default();
        for id in ids {
            match id {
                ResourceId::Realm(_) => counts.realms += 1,
                ResourceId::Keys(_) => counts.keys += 1,
                ResourceId::Client(..) => counts.clients += 1,
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests;
