//! Writes of generated Secrets: those that only the operator reads, and those beside the Clients.
//!
//! What was generated cannot be made again, so keys and ledgers are replaced only in the version that they were read in,
//! never applied over something newer. A Secret beside a Client is shared with whoever adds to it, so only our fields of
//! it are applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use litemap::LiteMap;
use serde_json::{Value, json};

use super::{Applied, Applier, ApplyError, Fenced};

use crate::build::{self, set};
use crate::resolve::Resolution;
use crate::world::folder::secret_manifest;
use crate::world::{ChildId, ChildKind, ObjectKey, SecretMetadata, SecretObject, World};

impl Applier {
    /// Creates a Secret that only the operator reads, or replaces the version of it that the world shows. Answers with
    /// the Secret as it is then; somebody faster is [`ApplyError::Conflict`] or [`ApplyError::AlreadyExists`], and the
    /// next world shows what they wrote.
    pub async fn keep_secret(
        &self,
        world: &World,
        key: &ObjectKey,
        secret: &SecretObject,
    ) -> Result<Value, ApplyError> {
        let id = secret_id(key);
        let manifest = secret_manifest(key, secret);
        match live(world, key) {
            None => self.create(ChildKind::Secret, &key.namespace, &manifest).await,
            Some(live) => self.replace(&id, &replacement(&live, &manifest)).await,
        }
    }

    /// Deletes a Secret that only the operator read.
    pub async fn drop_secret(&self, world: &World, key: &ObjectKey) -> Result<(), ApplyError> {
        let cluster = world.cluster.as_ref();
        match cluster.and_then(|cluster| cluster.secrets.get(key)) {
            Some(live) => self.delete(&secret_id(key), live.uid()).await,
            None => Ok(()),
        }
    }

    /// Makes the Secrets beside the Clients as they should be; answers for each Client for which something was to be
    /// done. Fails only when this process may not write.
    pub async fn credentials(
        &self,
        world: &World,
        resolution: &Resolution,
    ) -> Result<BTreeMap<ObjectKey, Applied>, Fenced> {
        let mut applied = BTreeMap::new();
        let Some(cluster) = &world.cluster else {
            return Ok(applied);
        };
        self.memory().settle(cluster);
        self.memory().keep_right(|key| resolution.credentials.contains_key(key));
        for (key, credentials) in &resolution.credentials {
            let Some(client) = world.clients.get(&credentials.client) else {
                continue;
            };
            let seen = Seen::find(world, key, client);
            let is_seen_right = |seen: &Seen| seen.holds(&credentials.secret) && self.memory().is_right(key, seen);
            if seen.as_ref().is_some_and(is_seen_right) {
                continue;
            }
            let (owner, desired) = build::client::child(&credentials.client, client, key, &credentials.secret);
            let id = &desired.id;
            let live = live(world, key);
            let is_right = |live: &Value| super::differ::differs(&desired.object, live).is_empty();
            if live.as_ref().is_some_and(is_right) {
                if let Some(seen) = seen {
                    self.memory().right(key, seen);
                }
                continue;
            }
            let live = live.map(Arc::new);
            let made = self.child(&desired, &owner, live.as_ref(), cluster).await?;
            let mut done = Applied::default();
            done.take(id, made);
            applied.insert(credentials.client.clone(), done);
        }
        Ok(applied)
    }
}

/// A Secret beside a Client as the world shows both. What was right stays so until one of them is another, which spares
/// thousands of them a comparison field by field in every round.
#[derive(Debug)]
pub(super) struct Seen {
    client: Arc<crds::Client>,
    secret: Arc<SecretObject>,
    metadata: Arc<SecretMetadata>,
}

impl Seen {
    fn find(world: &World, key: &ObjectKey, client: &Arc<crds::Client>) -> Option<Self> {
        Some(Self {
            client: Arc::clone(client),
            secret: Arc::clone(world.secrets.get(key)?),
            metadata: Arc::clone(world.cluster.as_ref()?.secrets.get(key)?),
        })
    }

    /// Whether both show the very same objects.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client)
            && Arc::ptr_eq(&self.secret, &other.secret)
            && Arc::ptr_eq(&self.metadata, &other.metadata)
    }

    /// Whether everything that is ours has the value that it should have.
    fn holds(&self, ours: &SecretObject) -> bool {
        let SecretObject {
            kind,
            labels,
            annotations,
            data,
        } = &*self.secret;
        *kind == ours.kind
            && includes(labels, &ours.labels)
            && includes(annotations, &ours.annotations)
            && includes(data, &ours.data)
    }
}

fn includes<V: PartialEq>(all: &LiteMap<String, V>, some: &LiteMap<String, V>) -> bool {
    some.iter().all(|(name, value)| all.get(name) == Some(value))
}

fn secret_id(key: &ObjectKey) -> ChildId {
    ChildId {
        kind: ChildKind::Secret,
        key: key.clone(),
    }
}

/// A Secret with our label as the API server shows it.
fn live(world: &World, key: &ObjectKey) -> Option<Value> {
    let metadata = world.cluster.as_ref()?.secrets.get(key)?;
    let mut object = secret_manifest(key, world.secrets.get(key)?);
    for (name, value) in metadata.fields() {
        set(&mut object, &["metadata", &name], value);
    }
    Some(object)
}

/// The live Secret with our content. What others have put on it stays.
fn replacement(live: &Value, manifest: &Value) -> Value {
    let mut object = live.clone();
    for part in ["labels", "annotations"] {
        let ours = manifest
            .pointer(&format!("/metadata/{part}"))
            .and_then(Value::as_object);
        for (key, value) in ours.into_iter().flatten() {
            set(&mut object, &["metadata", part, key], value.clone());
        }
    }
    set(&mut object, &["apiVersion"], json!("v1"));
    set(&mut object, &["kind"], json!("Secret"));
    for part in ["data", "type"] {
        set(&mut object, &[part], manifest.get(part).cloned().unwrap_or_default());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_keeps_version_owners_and_what_others_have_put_on_it() {
        let live = json!({
            "metadata": {
                "name": "a", "resourceVersion": "7", "uid": "u", "finalizers": ["example.com/f"],
                "annotations": {"auth.nauthera.io/adopt-keys": "identity/b"},
            },
            "data": {},
        });
        let mut secret = SecretObject {
            kind: "Opaque".to_owned(),
            ..SecretObject::default()
        };
        secret
            .annotations
            .insert("auth.nauthera.io/realm".to_owned(), "identity/a".to_owned());
        secret.data.insert("k".to_owned(), oidc::Secret::new(b"v".to_vec()));
        let object = replacement(&live, &secret_manifest(&ObjectKey::new("n", "a"), &secret));
        assert_eq!(
            object,
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "dg=="},
                "metadata": {
                    "name": "a", "resourceVersion": "7", "uid": "u", "finalizers": ["example.com/f"],
                    "annotations": {
                        "auth.nauthera.io/adopt-keys": "identity/b", "auth.nauthera.io/realm": "identity/a",
                    },
                },
            })
        );
    }
}
