//! Delivery in a cluster, over Secrets in memory: commits that may end anywhere, authorities that follow one another, and
//! replicas that serve what they see.

mod artefact;
mod peers;
mod serving;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use operator::build::Owner;
use operator::build::artefact::{SecretWrite, SeenSecret};
use operator::world::{Cluster, Data, ObjectKey, SecretMetadata, SecretObject, World};
use serde_json::json;

/// The Secrets of a cluster.
#[derive(Clone, Debug, Default)]
struct Secrets {
    objects: BTreeMap<ObjectKey, SeenSecret>,
    writes: u64,
}

impl Secrets {
    fn seen(&self, key: &ObjectKey) -> Option<SeenSecret> {
        self.objects.get(key).cloned()
    }

    fn object(&self, key: &ObjectKey) -> Option<&SecretObject> {
        self.objects.get(key).map(|seen| seen.object.as_ref())
    }

    /// What the API server does: a write that was computed from another version is refused.
    fn write(&mut self, write: &SecretWrite) -> Result<(), String> {
        let present = self.objects.get(&write.key).map(|seen| seen.version.clone());
        if present != write.replaces {
            return Err(format!("{} is at {present:?}, not {:?}", write.key, write.replaces));
        }
        let size: usize = write.object.data.values().map(|value| value.expose().len()).sum();
        assert!(size <= 1024 * 1024, "{} is too large for a Secret", write.key);
        self.writes += 1;
        let seen = SeenSecret {
            object: Arc::new(write.object.clone()),
            version: self.writes.to_string(),
            owner: write.owner.as_ref().map(|owner| owner.uid.clone()),
        };
        self.objects.insert(write.key.clone(), seen);
        Ok(())
    }

    /// What a watch makes of them.
    fn show(&self, world: &mut World) {
        let cluster = world.cluster.get_or_insert_with(Cluster::default);
        for (key, seen) in &self.objects {
            world.secrets.insert(key.clone(), Arc::clone(&seen.object));
            let owners: Vec<_> = seen
                .owner
                .iter()
                .map(|uid| json!({"controller": true, "uid": uid}))
                .collect();
            let metadata = json!({"resourceVersion": seen.version, "ownerReferences": owners});
            let metadata = SecretMetadata::new(serde_json::from_value(metadata).unwrap());
            cluster.secrets.insert(key.clone(), Arc::new(metadata));
        }
    }
}

fn owner(name: &str) -> Owner {
    Owner {
        kind: crds::manifests::Kind::AuthServer,
        key: ObjectKey::new("login", name),
        uid: format!("uid-{name}"),
    }
}

#[test]
fn a_secret_says_whose_it_is_and_what_it_replaces() {
    let write = SecretWrite {
        key: ObjectKey::new("login", "main-config"),
        object: SecretObject {
            kind: "Opaque".to_owned(),
            labels: owner("main").labels(),
            annotations: owner("main").annotations(),
            data: Data::from_iter([("a".to_owned(), oidc::Secret::new(b"b".to_vec()))]),
        },
        owner: Some(owner("main")),
        replaces: Some("7".to_owned()),
    };
    let object = write.object();
    assert_eq!(object["metadata"]["resourceVersion"], "7");
    assert_eq!(object["data"]["a"], "Yg==");
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-main");
    assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/instance"], "main");
}
