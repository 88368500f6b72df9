//! What is currently known: custom resources, Secrets and namespaces, as plain data.
//!
//! [`folder`] fills it from YAML files, [`cluster`] from an API server. Nothing here decides anything; that is
//! [`crate::resolve`]. Objects that do not parse are kept by name, because their last good version keeps being served.

mod class;
pub mod cluster;
mod document;
pub mod folder;
mod secret;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crds::manifests::Kind;
use oidc::Timestamp;
use serde_json::Value;

pub use document::Lines;
pub use secret::{Data, SecretMetadata, SecretObject, Texts, manifest_of};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of that object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Whether `text` is its `namespace/name`.
    pub fn is(&self, text: &str) -> bool {
        text.split_once('/') == Some((&self.namespace, &self.name))
    }

    /// The key that `namespace/name` spells.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_once('/').map(|(namespace, name)| Self::new(namespace, name))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Names one custom resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: ObjectKey,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key)
    }
}

/// Everything that is currently known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// The fleets.
    pub auth_servers: BTreeMap<ObjectKey, Arc<crds::AuthServer>>,
    /// The realms.
    pub realms: BTreeMap<ObjectKey, Arc<crds::Realm>>,
    /// The clients.
    pub clients: BTreeMap<ObjectKey, Arc<crds::Client>>,
    /// Secrets: those that custom resources name, and those that the operator generated.
    pub secrets: BTreeMap<ObjectKey, Arc<SecretObject>>,
    /// Labels of namespaces, for selectors. A namespace that is not listed has no label but its name.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Objects that do not parse, with the reason.
    pub undecodable: BTreeMap<ObjectId, String>,
    /// What only a cluster adds.
    pub cluster: Option<Cluster>,
}

impl World {
    /// Every custom resource, the undecodable ones included.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> {
        let id = |kind| move |key: &ObjectKey| ObjectId { kind, key: key.clone() };
        self.auth_servers
            .keys()
            .map(id(Kind::AuthServer))
            .chain(self.realms.keys().map(id(Kind::Realm)))
            .chain(self.clients.keys().map(id(Kind::Client)))
            .chain(self.undecodable.keys().cloned())
    }
}

/// What only a cluster adds to the picture. Absent in a folder of YAML files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Objects with our label that exist, as the API server shows them, without `metadata.managedFields`. Secrets are
    /// in [`Cluster::secrets`].
    pub children: BTreeMap<ChildId, Arc<Value>>,
    /// Secrets with our label that exist. Their content is in [`World::secrets`], of the same observation: what is
    /// written with the `resourceVersion` from here replaces the content there.
    pub secrets: BTreeMap<ObjectKey, Arc<SecretMetadata>>,
    /// UID and version of the Secrets that custom resources name and that are not ours: they change when the content does.
    pub named_versions: BTreeMap<ObjectKey, String>,
    /// Names that desired children need and that objects without our label hold.
    pub foreign: BTreeSet<ChildId>,
    /// The pods of each fleet by their UID.
    pub pods: BTreeMap<ObjectKey, BTreeMap<String, Pod>>,
    /// Kinds that cannot be read, and why: no right, or not installed. What they hold is frozen, nothing is concluded
    /// from their absence.
    pub unreadable: BTreeMap<String, Unreadable>,
    /// Custom resources that do not parse, as the API server shows them: their status is written all the same.
    pub raw: BTreeMap<ObjectId, Arc<Value>>,
    /// Names of the namespaces that are terminating.
    pub terminating: BTreeSet<String>,
    /// Custom resources that were seen being deleted, not long ago. After a gap of the watch an object may be gone
    /// without being here.
    pub deleted: BTreeSet<ObjectId>,
    /// Custom resources that went with the definition of their kind, not long ago: nobody has deleted any of them.
    pub swept: BTreeSet<ObjectId>,
    /// What keeps pods of each fleet from running, its migration Jobs' pods included.
    pub troubles: BTreeMap<ObjectKey, Vec<Trouble>>,
}

impl Cluster {
    /// UID and version of a Secret, whoever it belongs to.
    pub fn secret_version(&self, key: &ObjectKey) -> Option<String> {
        if let Some(version) = self.named_versions.get(key) {
            return Some(version.clone());
        }
        let metadata = self.secrets.get(key)?;
        Some(format!("{}/{}", metadata.uid(), metadata.version()))
    }

    /// The `resourceVersion` of an object with our label, in which the watch shows it.
    pub(crate) fn version(&self, id: &ChildId) -> Option<&str> {
        if id.kind == ChildKind::Secret {
            return self.secrets.get(&id.key).map(|metadata| metadata.version());
        }
        let version = self.children.get(id)?.pointer("/metadata/resourceVersion");
        version.and_then(Value::as_str)
    }

    /// Whether the watch shows an object with our label of this UID.
    pub(crate) fn shows(&self, uid: &str) -> bool {
        let is_it = |live: &Arc<Value>| live.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid);
        self.secrets.values().any(|metadata| metadata.uid() == uid) || self.children.values().any(is_it)
    }
}

/// What keeps a container of a pod from running.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// The pod.
    pub pod: String,
    /// The container; empty when it is the whole pod (it cannot be scheduled).
    pub container: String,
    /// In one word: `ImagePullBackOff`, `CrashLoopBackOff`, `Unschedulable` …
    pub reason: String,
    /// What the kubelet, the scheduler or the last lines of the container's log say.
    pub message: String,
    /// How the container ended last.
    pub exit_code: Option<i32>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A kind of child object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
    /// `v1` Service.
    Service,
    /// `v1` PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// `apps/v1` Deployment.
    Deployment,
    /// `batch/v1` Job.
    Job,
    /// `policy/v1` PodDisruptionBudget.
    PodDisruptionBudget,
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    HorizontalPodAutoscaler,
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    /// `gateway.networking.k8s.io/v1` HTTPRoute. Optional: its CRD may be absent.
    HttpRoute,
    /// `cert-manager.io/v1` Certificate. Optional: its CRD may be absent.
    Certificate,
}

impl ChildKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Secret,
        Self::Service,
        Self::PersistentVolumeClaim,
        Self::Deployment,
        Self::Job,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::NetworkPolicy,
        Self::HttpRoute,
        Self::Certificate,
    ];

    /// `kind` of its objects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Service => "Service",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Ingress => "Ingress",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::HttpRoute => "HTTPRoute",
            Self::Certificate => "Certificate",
        }
    }

    /// Its API group; empty for the core.
    pub const fn group(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::ConfigMap | Self::Secret | Self::Service | Self::PersistentVolumeClaim => "",
            Self::Deployment => "apps",
            Self::Job => "batch",
            Self::PodDisruptionBudget => "policy",
            Self::HorizontalPodAutoscaler => "autoscaling",
            Self::Ingress | Self::NetworkPolicy => "networking.k8s.io",
            Self::HttpRoute => "gateway.networking.k8s.io",
            Self::Certificate => "cert-manager.io",
        }
    }

    /// Its version within the group.
    pub const fn version(self) -> &'static str {
        match self {
            Self::HorizontalPodAutoscaler => "v2",
            _ => "v1",
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// Its resource, as it stands in paths and in RBAC rules.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::ServiceAccount => "serviceaccounts",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::Service => "services",
            Self::PersistentVolumeClaim => "persistentvolumeclaims",
            Self::Deployment => "deployments",
            Self::Job => "jobs",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Self::Ingress => "ingresses",
            Self::NetworkPolicy => "networkpolicies",
            Self::HttpRoute => "httproutes",
            Self::Certificate => "certificates",
        }
    }
}

/// Names one child object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId {
    /// Its kind.
    pub kind: ChildKind,
    /// Its namespace and name.
    pub key: ObjectKey,
}

impl ChildId {
    /// The child of that kind and name.
    pub fn new(kind: ChildKind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            key: ObjectKey::new(namespace, name),
        }
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key.name)
    }
}

/// A pod of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Whether an EndpointSlice of the fleet's Service lists it as ready.
    pub is_ready: bool,
}

/// Why a kind cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The operator has no right to list it.
    Forbidden,
    /// Its definition is not installed.
    NotInstalled,
}
