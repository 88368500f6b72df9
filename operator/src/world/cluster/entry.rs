//! An object of the API server as what is kept of it: decoded once, without what nobody reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::admission::Admission;
use crds::manifests::Kind;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, TypeMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Watched;
use crate::build::auth_server::trouble_of_pod;
use crate::build::text;
use crate::world::folder::secret_object;
use crate::world::{ChildKind, ObjectKey, SecretMetadata, SecretObject, Trouble};

/// Label with the name of the AuthServer that an object is of.
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// What `kubectl apply` repeats of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is kept of an object.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    AuthServer(Arc<crds::AuthServer>),
    Realm(Arc<crds::Realm>),
    Client(Arc<crds::Client>),
    /// A custom resource that cannot be used, with the reason, and what its status is written by.
    Undecodable {
        reason: String,
        raw: Arc<Value>,
    },
    Child(Arc<Value>),
    Secret {
        metadata: Arc<SecretMetadata>,
        secret: Arc<SecretObject>,
    },
    Pod {
        fleet: ObjectKey,
        uid: String,
        /// What keeps it from running.
        trouble: Option<Box<Trouble>>,
    },
    /// The pods that it names as ready, by UID with their names.
    Slice {
        fleet: ObjectKey,
        ready: BTreeMap<String, String>,
    },
    Namespace {
        labels: BTreeMap<String, String>,
        is_terminating: bool,
    },
}

/// The key of an object. Objects outside of namespaces have an empty one.
pub(super) fn key(metadata: &ObjectMeta) -> Option<ObjectKey> {
    let name = metadata.name.clone()?;
    Some(ObjectKey::new(metadata.namespace.clone().unwrap_or_default(), name))
}

impl Entry {
    /// What is kept of an object; `None` for one without a name, or that belongs to no fleet. What is known of it so far
    /// spares judging a spec twice.
    pub(super) fn new(
        watched: Watched,
        mut object: DynamicObject,
        admission: &Admission,
        known: impl FnOnce(&ObjectKey) -> Option<Self>,
    ) -> Option<(ObjectKey, Self)> {
        object.metadata.managed_fields = None;
        if let Some(annotations) = &mut object.metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
        let key = key(&object.metadata)?;
        let entry = match watched {
            Watched::Custom(kind) => match known(&key).and_then(|known| known.renewed(&object)) {
                Some(renewed) => renewed,
                None => custom(kind, watched, object, admission),
            },
            Watched::Child(ChildKind::Secret) => secret(&object)?,
            Watched::Child(_) => Self::Child(Arc::new(value(watched, object)?)),
            Watched::Pod => {
                let trouble = object.data.get("status");
                let trouble = trouble.and_then(|status| trouble_of_pod(&key.name, status));
                Self::Pod {
                    fleet: fleet(&object.metadata, INSTANCE_LABEL)?,
                    uid: object.metadata.uid?,
                    trouble: trouble.map(Box::new),
                }
            }
            Watched::EndpointSlice => slice(watched, object)?,
            Watched::Namespace => Self::Namespace {
                is_terminating: object.metadata.deletion_timestamp.is_some(),
                labels: object.metadata.labels.unwrap_or_default(),
            },
        };
        Some((key, entry))
    }

    /// The same object with another status and other metadata; `None` when it asks for something else. A spec that was
    /// taken once is taken again: the generation moves with it.
    fn renewed(&self, object: &DynamicObject) -> Option<Self> {
        self.metadata()
            .filter(|known| have_the_same_spec(known, &object.metadata))?;
        let (metadata, status) = (object.metadata.clone(), object.data.get("status"));
        match self {
            Self::AuthServer(known) => Some(Self::AuthServer(Arc::new(crds::AuthServer {
                metadata,
                spec: known.spec.clone(),
                status: parsed(status),
            }))),
            Self::Realm(known) => Some(Self::Realm(Arc::new(crds::Realm {
                metadata,
                spec: known.spec.clone(),
                status: parsed(status),
            }))),
            Self::Client(known) => Some(Self::Client(Arc::new(crds::Client {
                metadata,
                spec: known.spec.clone(),
                status: parsed(status),
            }))),
            _ => None,
        }
    }

    /// Whether both are the same object and this one is the same or a later version of it.
    pub(super) fn is_as_new_as(&self, other: &Self) -> bool {
        match (self.version(), other.version()) {
            (Some((uid, version)), Some((other_uid, other))) => uid == other_uid && version >= other,
            _ => false,
        }
    }

    /// Whether both are the same custom resource, asking for the same.
    pub(super) fn differs_in_status_only(&self, other: &Self) -> bool {
        let both = self.metadata().zip(other.metadata());
        both.is_some_and(|(one, other)| {
            have_the_same_spec(one, other)
                && one.deletion_timestamp == other.deletion_timestamp
                && one.labels == other.labels
                && one.annotations == other.annotations
        })
    }

    /// The metadata of a custom resource that can be used.
    fn metadata(&self) -> Option<&ObjectMeta> {
        match self {
            Self::AuthServer(object) => Some(&object.metadata),
            Self::Realm(object) => Some(&object.metadata),
            Self::Client(object) => Some(&object.metadata),
            _ => None,
        }
    }

    /// UID and `resourceVersion`, whose numbers grow.
    pub(super) fn version(&self) -> Option<(&str, u64)> {
        let (uid, version) = match self {
            Self::AuthServer(_) | Self::Realm(_) | Self::Client(_) => {
                let metadata = self.metadata()?;
                (metadata.uid.as_deref(), metadata.resource_version.as_deref())
            }
            Self::Secret { metadata, .. } => (Some(metadata.uid()), Some(metadata.version())),
            Self::Undecodable { raw: object, .. } | Self::Child(object) => (
                text(object, &["metadata", "uid"]),
                text(object, &["metadata", "resourceVersion"]),
            ),
            Self::Pod { .. } | Self::Slice { .. } | Self::Namespace { .. } => (None, None),
        };
        Some((uid?, version?.parse().ok()?))
    }
}

/// The generation moves with the spec.
fn have_the_same_spec(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.uid == other.uid && one.generation.is_some() && one.generation == other.generation
}

/// The object as JSON. What a list leaves out, `apiVersion` and `kind`, is added.
fn value(watched: Watched, mut object: DynamicObject) -> Option<Value> {
    let resource = watched.api_resource();
    object.types = Some(TypeMeta {
        api_version: resource.api_version,
        kind: resource.kind,
    });
    serde_json::to_value(object).ok()
}

fn fleet(metadata: &ObjectMeta, label: &str) -> Option<ObjectKey> {
    let name = metadata.labels.as_ref()?.get(label)?;
    Some(ObjectKey::new(metadata.namespace.clone()?, name))
}

/// A custom resource, judged like one in a folder: by schema, defaults and rules of this release. The API server has
/// judged it by those of the definition that was installed then.
fn custom(kind: Kind, watched: Watched, object: DynamicObject, admission: &Admission) -> Entry {
    let mut value = value(watched, object).unwrap_or_default();
    // What an operator of another release wrote about it says nothing against the object.
    let status = value.as_object_mut().and_then(|object| object.remove("status"));
    let undecodable = |reason: String, status: Value, metadata: Value| Entry::Undecodable {
        reason,
        raw: Arc::new(serde_json::json!({"metadata": metadata, "status": status})),
    };
    let metadata = value.get("metadata").cloned().unwrap_or_default();
    if let Some(error) = admission.check(kind, &value, None).first() {
        return undecodable(error.to_string(), status.unwrap_or_else(empty), metadata);
    }
    let value = admission.defaulted(kind, &value);
    let kept = status.clone().unwrap_or_else(empty);
    let status = status.as_ref();
    let decoded = match kind {
        Kind::AuthServer => decode::<crds::AuthServer>(value).map(|mut object| {
            object.status = parsed(status);
            Entry::AuthServer(Arc::new(object))
        }),
        Kind::Realm => decode::<crds::Realm>(value).map(|mut object| {
            object.status = parsed(status);
            Entry::Realm(Arc::new(object))
        }),
        Kind::Client => decode::<crds::Client>(value).map(|mut object| {
            object.status = parsed(status);
            Entry::Client(Arc::new(object))
        }),
    };
    decoded.unwrap_or_else(|reason| undecodable(reason, kept, metadata))
}

/// A status as this release writes it.
fn parsed<T: DeserializeOwned>(status: Option<&Value>) -> Option<T> {
    T::deserialize(status?).ok()
}

/// The status of an object that has none.
fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn secret(object: &DynamicObject) -> Option<Entry> {
    let secret = parse_secret(object)?;
    let Value::Object(metadata) = serde_json::to_value(&object.metadata).ok()? else {
        return None;
    };
    Some(Entry::Secret {
        metadata: Arc::new(SecretMetadata::new(metadata)),
        secret: Arc::new(secret),
    })
}

/// The content of a Secret.
pub(super) fn parse_secret(object: &DynamicObject) -> Option<SecretObject> {
    let mut secret: core::Secret = serde_json::from_value(object.data.clone()).ok()?;
    secret.metadata = object.metadata.clone();
    Some(secret_object(secret))
}

fn slice(watched: Watched, object: DynamicObject) -> Option<Entry> {
    let fleet = fleet(&object.metadata, "kubernetes.io/service-name")?;
    let slice: EndpointSlice = serde_json::from_value(value(watched, object)?).ok()?;
    let is_ready = |endpoint: &&Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    let pod = |endpoint: &Endpoint| {
        let target = endpoint.target_ref.as_ref()?;
        Some((target.uid.clone()?, target.name.clone().unwrap_or_default()))
    };
    let ready = slice.endpoints.iter().filter(is_ready).filter_map(pod).collect();
    Some(Entry::Slice { fleet, ready })
}
