//! Secrets as the watch shows them, with what this replica wrote itself on top until the watch shows that too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::build::artefact::{SecretWrite, SeenSecret};
use crate::build::text;
use crate::world::{ObjectKey, SecretMetadata, SecretObject, World};

#[derive(Debug, Default)]
pub(super) struct Overlay {
    written: BTreeMap<ObjectKey, Written>,
}

#[derive(Debug)]
struct Written {
    seen: SeenSecret,
    /// The version that was replaced: as long as the watch shows it, it lags.
    replaced: Option<String>,
    since: Instant,
}

/// A watch lags no longer than this; what it still does not show then was undone by somebody.
const LAG: Duration = Duration::from_mins(1);

impl Overlay {
    /// Notes a write that succeeded and the version that it led to.
    pub(super) fn wrote(&mut self, write: SecretWrite, version: String) {
        let SecretWrite {
            key,
            object,
            owner,
            replaces,
        } = write;
        // The watch may still show what an earlier write of ours replaced.
        let earlier = self.written.remove(&key);
        let replaced = match earlier {
            Some(earlier) if Some(&earlier.seen.version) == replaces.as_ref() => earlier.replaced,
            _ => replaces,
        };
        let seen = SeenSecret {
            object: Arc::new(object),
            version,
            owner: owner.map(|owner| owner.uid),
        };
        self.written.insert(
            key,
            Written {
                seen,
                replaced,
                since: Instant::now(),
            },
        );
    }

    /// Forgets what the watch has caught up with.
    pub(super) fn settle(&mut self, world: &World) {
        self.written
            .retain(|key, written| written.is_ahead_of(watched_version(world, key)));
    }

    /// A Secret, its version and its owner.
    pub(super) fn seen(&self, world: &World, key: &ObjectKey) -> Option<SeenSecret> {
        match self.written.get(key) {
            Some(written) if written.is_ahead_of(watched_version(world, key)) => Some(written.seen.clone()),
            _ => {
                let metadata = metadata(world, key)?;
                Some(SeenSecret {
                    object: Arc::clone(world.secrets.get(key)?),
                    version: metadata.version().to_owned(),
                    owner: controller(&metadata.fields()),
                })
            }
        }
    }

    /// The content of a Secret.
    pub(super) fn object<'s>(&'s self, world: &'s World, key: &ObjectKey) -> Option<&'s SecretObject> {
        match self.written.get(key) {
            Some(written) if written.is_ahead_of(watched_version(world, key)) => Some(&written.seen.object),
            _ => world.secrets.get(key).map(AsRef::as_ref),
        }
    }
}

impl Written {
    fn is_ahead_of(&self, watched: Option<&str>) -> bool {
        watched == self.replaced.as_deref() && self.since.elapsed() < LAG
    }
}

fn metadata<'w>(world: &'w World, key: &ObjectKey) -> Option<&'w SecretMetadata> {
    world.cluster.as_ref()?.secrets.get(key).map(AsRef::as_ref)
}

fn watched_version<'w>(world: &'w World, key: &ObjectKey) -> Option<&'w str> {
    metadata(world, key).map(SecretMetadata::version)
}

fn controller(metadata: &Map<String, Value>) -> Option<String> {
    let references = metadata.get("ownerReferences")?.as_array()?;
    let controller = references
        .iter()
        .find(|reference| reference.get("controller").and_then(Value::as_bool) == Some(true))?;
    text(controller, &["uid"]).map(str::to_owned)
}

#[cfg(test)]
mod tests;
