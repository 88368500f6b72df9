//! The volume of an embedded database. It outlives the AuthServer: people are in it.

use crds::auth_server::Database;
use serde_json::json;

use super::BuildInputs;
use crate::build::{Desired, set};
use crate::world::{ChildKind, ObjectKey};

/// Name of the claim.
pub(super) fn name(key: &ObjectKey) -> String {
    format!("{}-data", key.name)
}

pub(super) fn build(inputs: &BuildInputs<'_>) -> Option<Desired> {
    let Database::Embedded(embedded) = &inputs.server.spec.database else {
        return None;
    };
    let size = embedded
        .storage
        .as_ref()
        .map_or("1Gi", |storage| storage.size.0.as_str());
    let mut body = json!({"spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
    }});
    let class = embedded
        .storage
        .as_ref()
        .and_then(|storage| storage.storage_class_name.as_ref());
    if let Some(class) = class {
        set(&mut body, &["spec", "storageClassName"], json!(class.as_str()));
    }
    let id = inputs.id(ChildKind::PersistentVolumeClaim, name(inputs.key));
    Some(Desired::unowned(id, &inputs.owner(), body))
}
