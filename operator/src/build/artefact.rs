//! The artefact as Secrets: one for the manifest, one for each shard, beside the fleet that boots from them.
//!
//! Shards are written first, the manifest last: that is the commit. A shard's Secret holds the file that the next
//! manifest names and the one that the committed manifest names, so that whoever reads in between, and whoever reads
//! Secrets of different age from one volume, finds every file of the manifest that it has read.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oidc::Secret;
use serde_json::{Value, json};
use snapshot::{Artefact, ArtefactError, Hash, MANIFEST_FILE, Manifest, SHARD_COUNT};

use super::{Owner, set};
use crate::world::{ChildId, ChildKind, Data, ObjectKey, SecretObject, manifest_of};

/// A Secret as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenSecret {
    /// Its content.
    pub object: Arc<SecretObject>,
    /// `metadata.resourceVersion` of that content.
    pub version: String,
    /// UID of its controller.
    pub owner: Option<String>,
}

/// A Secret to write: the whole of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretWrite {
    /// Which.
    pub key: ObjectKey,
    /// Labels, annotations and data.
    pub object: SecretObject,
    /// The object that it goes with.
    pub owner: Option<Owner>,
    /// `resourceVersion` of what it replaces; `None` when there must be none yet.
    pub replaces: Option<String>,
}

impl SecretWrite {
    /// Which.
    pub fn id(&self) -> ChildId {
        ChildId {
            kind: ChildKind::Secret,
            key: self.key.clone(),
        }
    }

    /// Bytes of data.
    pub fn bytes(&self) -> usize {
        self.object.data.values().map(|value| value.expose().len()).sum()
    }

    /// The whole object.
    pub fn object(&self) -> Value {
        let Self {
            key,
            object,
            owner,
            replaces,
        } = self;
        let SecretObject {
            kind,
            labels,
            annotations,
            data,
        } = object;
        let data = data.iter().map(|(name, value)| (name, BASE64.encode(value.expose())));
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "namespace": key.namespace,
                "name": key.name,
                "labels": manifest_of(labels),
                "annotations": manifest_of(annotations),
            },
            "type": kind,
            "data": data.collect::<BTreeMap<_, _>>(),
        });
        if let Some(owner) = owner {
            set(
                &mut object,
                &["metadata", "ownerReferences"],
                json!([owner.reference()]),
            );
        }
        if let Some(version) = replaces {
            set(&mut object, &["metadata", "resourceVersion"], json!(version));
        }
        object
    }
}

/// The Secret of a fleet's manifest.
pub fn manifest_secret(fleet: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&fleet.namespace, format!("{}-config", fleet.name))
}

/// The Secret of one of a fleet's shards.
pub fn shard_secret(fleet: &ObjectKey, number: u8) -> ObjectKey {
    ObjectKey::new(&fleet.namespace, format!("{}-config-{number:02}", fleet.name))
}

/// What Secrets say is committed.
#[derive(Debug)]
pub enum Stored {
    /// There is no manifest.
    Nothing,
    /// This is committed.
    Committed(Box<Artefact>),
    /// Something is committed that cannot be read: a file was removed or altered. Never overwritten by a lower position.
    Damaged {
        /// The manifest, when that at least can be read.
        manifest: Option<Box<Manifest>>,
        /// What is wrong.
        error: ArtefactError,
    },
}

/// Reads what is committed for `fleet`.
pub fn read<'s>(fleet: &ObjectKey, seen: impl Fn(&ObjectKey) -> Option<&'s SecretObject>) -> Stored {
    let Some(document) = seen(&manifest_secret(fleet)).and_then(|secret| secret.data.get(MANIFEST_FILE)) else {
        return Stored::Nothing;
    };
    let manifest = match Manifest::decode(document.expose()) {
        Ok(manifest) => manifest,
        Err(error) => {
            let error = error.into();
            return Stored::Damaged { manifest: None, error };
        }
    };
    let mut files = BTreeMap::from([(MANIFEST_FILE.to_owned(), document.expose().clone())]);
    for number in manifest.shards.keys() {
        if let Some(secret) = seen(&shard_secret(fleet, *number)) {
            let shard = secret.data.iter();
            files.extend(shard.map(|(name, file)| (name.clone(), file.expose().clone())));
        }
    }
    match Artefact::from_files(&files) {
        Ok(artefact) => Stored::Committed(Box::new(artefact)),
        Err(error) => Stored::Damaged {
            manifest: Some(Box::new(manifest)),
            error,
        },
    }
}

/// What a commit goes from and to.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The AuthServer.
    pub owner: &'a Owner,
    /// What is committed; servers may be reading it.
    pub committed: Option<&'a Artefact>,
    /// What shall be committed.
    pub target: &'a Artefact,
}

/// Whether between `committed` and `target` only former versions go, which every ready replica has replaced. That follows
/// a commit once, and is no reason to keep the next edit waiting.
pub fn only_settles(committed: &Artefact, target: &Artefact) -> bool {
    committed != target
        && committed.head() == target.head()
        && committed.manifest().content == target.manifest().content
}

impl Commit<'_> {
    /// The writes that commit the target, in their order; none when everything is as it should be. Also puts back what
    /// was altered by hand.
    pub fn writes(&self, seen: impl Fn(&ObjectKey) -> Option<SeenSecret>) -> Vec<SecretWrite> {
        let manifest = self.manifest(seen(&manifest_secret(&self.owner.key)));
        let next: BTreeMap<u8, (String, &[u8])> = files(self.target);
        let former: BTreeMap<u8, (String, &[u8])> = self.committed.map(files).unwrap_or_default();
        let mut writes = Vec::new();
        for number in 0..SHARD_COUNT {
            let key = shard_secret(&self.owner.key, number);
            let seen = seen(&key);
            let files = [next.get(&number), former.get(&number)].into_iter().flatten();
            let data: Data = files
                .map(|(name, file)| (name.clone(), Secret::new(file.to_vec())))
                .collect();
            let is_right = match &seen {
                None => data.is_empty(),
                // What the mounts of other pods may still need is cleared with the next commit, not for its own sake.
                Some(seen) if data.is_empty() => manifest.is_none() || seen.object.data.is_empty(),
                Some(seen) => self.is_owned(seen) && holds(&seen.object, number, &data),
            };
            if !is_right {
                writes.push(self.write(key, data, seen));
            }
        }
        writes.extend(manifest);
        writes
    }

    fn manifest(&self, seen: Option<SeenSecret>) -> Option<SecretWrite> {
        let document = self.target.manifest().encode();
        let is_right = seen.as_ref().is_some_and(|seen| {
            let present = seen.object.data.get(MANIFEST_FILE);
            self.is_owned(seen) && seen.object.data.len() == 1 && present.is_some_and(|file| *file.expose() == document)
        });
        let data = Data::from_iter([(MANIFEST_FILE.to_owned(), Secret::new(document))]);
        (!is_right).then(|| self.write(manifest_secret(&self.owner.key), data, seen))
    }

    fn is_owned(&self, seen: &SeenSecret) -> bool {
        seen.owner.as_deref() == Some(self.owner.uid.as_str())
    }

    fn write(&self, key: ObjectKey, data: Data, seen: Option<SeenSecret>) -> SecretWrite {
        SecretWrite {
            key,
            object: SecretObject {
                kind: "Opaque".to_owned(),
                labels: self.owner.labels(),
                annotations: self.owner.annotations(),
                data,
            },
            owner: Some(self.owner.clone()),
            replaces: seen.map(|seen| seen.version),
        }
    }
}

fn files(artefact: &Artefact) -> BTreeMap<u8, (String, &[u8])> {
    let files = artefact.shard_files();
    files.map(|(number, name, file)| (number, (name, file))).collect()
}

/// Whether a shard's Secret holds `wanted`, and beside it nothing but one file of another commit.
fn holds(secret: &SecretObject, number: u8, wanted: &Data) -> bool {
    let has = |(name, file): (&String, &Secret<Vec<u8>>)| {
        secret
            .data
            .get(name)
            .is_some_and(|present| present.expose() == file.expose())
    };
    let genuine =
        |(name, file): (&String, &Secret<Vec<u8>>)| *name == snapshot::shard_file(number, Hash::of(file.expose()));
    wanted.iter().all(has) && secret.data.len() <= 2 && secret.data.iter().all(genuine)
}
