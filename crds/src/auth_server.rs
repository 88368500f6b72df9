//! `AuthServer`: a fleet of auth servers with its database, exposure and certificates.
//!
//! Owned by the platform team. It says nothing about people or applications; those belong to the
//! realms that the fleet admits.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cel::{admission, between, one_of, rules};
use crate::duration::Duration;
use crate::reference::{AdmitFrom, IssuerRef, NamespaceSelector, SecretKeyRef, SecretRef};
use crate::schema::{open_object, quantities};
use crate::text::{AnnotationText, Cidr, HostPattern, LabelText, NamespaceName, ObjectName};

/// A fleet of auth servers: its pods, database, exposure and certificates. One fleet serves many
/// realms.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "auth.nauthera.io",
    version = "v1alpha1",
    kind = "AuthServer",
    plural = "authservers",
    namespaced,
    shortname = "nas",
    category = "nauthera",
    status = "AuthServerStatus",
    derive = "PartialEq",
    doc = "A fleet of auth servers: its pods, database, exposure and certificates. One fleet serves many realms.",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether the fleet is up and serves its configuration"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "string", "jsonPath": ".status.replicas.summary", "description": "How many of the ready replicas serve the current configuration"}"#,
    printcolumn = r#"{"name": "Realms", "type": "integer", "jsonPath": ".status.realms", "description": "Realms that the fleet serves"}"#,
    printcolumn = r#"{"name": "Clients", "type": "integer", "jsonPath": ".status.clients", "description": "Clients that the fleet serves"}"#,
    printcolumn = r#"{"name": "Version", "type": "string", "jsonPath": ".status.version", "description": "Version of the servers", "priority": 1}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "description": "Why it is ready or not, in one word"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "Why it is ready or not"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    (
        "!(has(self.replicas) && has(self.autoscaling))",
        "set either replicas or autoscaling, not both",
    ),
    (
        "!(has(self.database.embedded) && has(self.autoscaling))",
        "an embedded database cannot be shared by a changing number of pods: remove autoscaling or use postgres",
    ),
    (
        "has(self.exposure.none) || has(self.tls)",
        "a fleet that is exposed needs tls: certManager, secretRef or edge",
    ),
])))]
pub struct AuthServerSpec {
    /// How many pods. With neither `replicas` nor `autoscaling` there are two; with an embedded
    /// database one, and more than one is refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64))]
    pub replicas: Option<i32>,

    /// Lets a HorizontalPodAutoscaler choose the number of pods. Excludes `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// Version of the servers, such as `0.1.0`. When absent, the version that the fleet was created
    /// with, unless `upgrade` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$")
    )]
    pub version: Option<String>,

    /// What happens to the servers when the operator is upgraded: Manual (they stay at their
    /// version until `version` changes) or WithOperator (they follow the operator).
    #[serde(default)]
    pub upgrade: Upgrade,

    /// Image of the servers; wins over the image that belongs to `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"))]
    pub image: Option<String>,

    /// CPU and memory of each server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Laid over the pods that the operator builds, as a strategic merge patch: scheduling, labels,
    /// annotations, sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,

    /// The PodDisruptionBudget of the fleet.
    #[serde(default)]
    pub pod_disruption_budget: PodDisruptionBudget,

    /// How pods are spread over zones and hosts: Preferred, Required (a pod that cannot be spread
    /// stays pending) or Disabled.
    #[serde(default)]
    pub topology_spread: TopologySpread,

    /// Where people, credentials and grants are kept.
    #[schemars(extend("x-kubernetes-validations" = one_of(["postgres", "embedded"])))]
    pub database: Database,

    /// Who migrates the database schema: Auto (the operator runs a Job before the servers roll out)
    /// or Manual (the roll-out waits until somebody has run `nauthera-auth migrate`).
    #[serde(default)]
    pub migrations: Migrations,

    /// How the fleet is reached from outside the cluster.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = one_of(["ingress", "gateway", "none"])))]
    pub exposure: Exposure,

    /// Where the certificates that browsers see come from. Needed when the fleet is exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = one_of(["certManager", "secretRef", "edge"])))]
    pub tls: Option<Tls>,

    /// Where the certificates of the link between operator and servers come from.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = one_of(["builtIn", "certManager"])))]
    pub peer_tls: PeerTls,

    /// Whether the operator keeps a NetworkPolicy for the pods: Managed or Disabled.
    #[serde(default)]
    pub network_policy: Management,

    /// Logs of the servers.
    #[serde(default)]
    pub observability: Observability,

    /// Which realms may attach to the fleet.
    #[serde(default)]
    pub realms: Realms,

    /// How long servers that have lost their database keep answering from memory what needs no
    /// write (introspection, userinfo, single sign-on), after the last moment at which they knew
    /// every revocation.
    #[serde(default = "AuthServerSpec::default_max_staleness")]
    #[schemars(extend("x-kubernetes-validations" = between("10s", "10m")))]
    pub max_staleness: Duration,

    /// Which operator owns the fleet, where several run in one cluster: the one that was started
    /// with the same class.
    #[serde(default = "AuthServerSpec::default_operator_class")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub operator_class: String,
}

impl AuthServerSpec {
    /// The operator class of fleets that name none.
    pub const DEFAULT_OPERATOR_CLASS: &str = "default";

    fn default_operator_class() -> String {
        Self::DEFAULT_OPERATOR_CLASS.to_owned()
    }

    fn default_max_staleness() -> Duration {
        Duration::seconds(60)
    }
}

/// Bounds and target of the HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.minReplicas <= self.maxReplicas", "minReplicas must not be greater than maxReplicas"),
])))]
pub struct Autoscaling {
    /// Never fewer pods than this.
    #[serde(default = "Autoscaling::default_min_replicas")]
    #[schemars(range(min = 1, max = 64))]
    pub min_replicas: i32,
    /// Never more pods than this.
    #[schemars(range(min = 1, max = 64))]
    pub max_replicas: i32,
    /// Average CPU use, in percent of the request, that the autoscaler aims at.
    #[serde(default = "Autoscaling::default_target_cpu_percent")]
    #[schemars(range(min = 10, max = 100))]
    pub target_cpu_percent: i32,
}

impl Autoscaling {
    fn default_min_replicas() -> i32 {
        2
    }

    fn default_target_cpu_percent() -> i32 {
        70
    }
}

/// What an operator upgrade does to the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Upgrade {
    /// Nothing; a newer version is only announced.
    #[default]
    Manual,
    /// The servers follow the operator.
    WithOperator,
}

/// CPU and memory of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// What is reserved for each pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What a pod must not exceed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// What is laid over the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PodTemplate {
    /// Labels and annotations that the pods get in addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodMetadata>,
    /// Fields of a PodSpec. They are checked when the Deployment is written; a mistake is reported
    /// on the AuthServer.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "open_object")]
    pub spec: Map<String, Value>,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodMetadata {
    /// Labels; those of the operator win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, LabelText>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, AnnotationText>,
}

/// The PodDisruptionBudget of a fleet of more than one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudget {
    /// Managed (kept while there is more than one pod) or Disabled.
    pub mode: Management,
    /// How many pods an eviction may take away at once.
    #[schemars(range(min = 1, max = 63))]
    pub max_unavailable: i32,
}

impl Default for PodDisruptionBudget {
    fn default() -> Self {
        Self {
            mode: Management::Managed,
            max_unavailable: 1,
        }
    }
}

/// Whether the operator keeps an optional child object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Management {
    /// The operator keeps it.
    #[default]
    Managed,
    /// There is none.
    Disabled,
}

/// How pods are spread over zones and hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TopologySpread {
    /// Where possible.
    #[default]
    Preferred,
    /// Always; a pod that cannot be spread stays pending.
    Required,
    /// As the scheduler likes.
    Disabled,
}

/// Where people, credentials and grants are kept: exactly one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Database {
    /// A PostgreSQL database that exists already.
    Postgres(Postgres),
    /// SQLite in a volume of the pod: for evaluation and small installations. One pod, and a short
    /// outage whenever it is replaced.
    Embedded(Embedded),
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Postgres {
    /// Secret with the connection: either `uri` (also `dsn`), or `host`, `port`, `dbname`, `user`
    /// and `password` (also `username`), as CloudNativePG writes it. Several hosts need
    /// `target_session_attrs=read-write`.
    pub secret_ref: SecretRef,
    /// Certificate authority that the database's certificate must come from. When absent, the
    /// system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Connections that each server keeps to the database, at most.
    #[serde(default = "Postgres::default_pool")]
    #[schemars(range(min = 1, max = 200))]
    pub pool: i32,
}

impl Postgres {
    fn default_pool() -> i32 {
        10
    }
}

/// A SQLite database in a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Embedded {
    /// The volume. When absent, one of 1Gi from the default storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Its size. It may grow if the storage class allows it, never shrink.
    #[schemars(schema_with = "crate::schema::quantity")]
    pub size: Quantity,
    /// Its storage class; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<ObjectName>,
}

/// Who migrates the database schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Migrations {
    /// The operator, by a Job before the servers roll out.
    #[default]
    Auto,
    /// A person; the roll-out waits for it.
    Manual,
}

/// How the fleet is reached from outside the cluster: exactly one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Exposure {
    /// Ingresses that the operator keeps for the hosts of the fleet's realms.
    Ingress(IngressExposure),
    /// HTTPRoutes that the operator keeps for the hosts of the fleet's realms.
    Gateway(GatewayExposure),
    /// Not at all by the operator: only the Service is there.
    None(NoExposure),
}

impl Default for Exposure {
    fn default() -> Self {
        Self::None(NoExposure {})
    }
}

/// Ingresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressExposure {
    /// Class of the Ingresses; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<ObjectName>,
    /// Annotations that the Ingresses get.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, AnnotationText>,
}

/// HTTPRoutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayExposure {
    /// The Gateways that the routes attach to.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub parent_refs: Vec<GatewayRef>,
}

/// A Gateway, or one listener of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Name of the Gateway.
    pub name: ObjectName,
    /// Its namespace; that of the AuthServer when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceName>,
    /// Its listener; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<ObjectName>,
}

/// Nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoExposure {}

/// Where the certificates that browsers see come from: exactly one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tls {
    /// cert-manager issues them; the operator keeps the Certificates.
    CertManager(CertManager),
    /// A TLS Secret (`tls.crt`, `tls.key`) that covers the hosts of every realm.
    SecretRef(SecretRef),
    /// TLS ends in front of the Ingress or Gateway, which forwards plain HTTP.
    Edge(Edge),
}

/// Certificates from cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertManager {
    /// Who issues them.
    pub issuer_ref: IssuerRef,
}

/// TLS that ends in front of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Addresses of the proxies in front; only their X-Forwarded-* headers are believed.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub trusted_proxies: Vec<Cidr>,
}

/// Where the certificates of the link between operator and servers come from: exactly one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PeerTls {
    /// The operator's own certificate authority.
    BuiltIn(BuiltIn),
    /// cert-manager issues them.
    CertManager(CertManager),
}

impl Default for PeerTls {
    fn default() -> Self {
        Self::BuiltIn(BuiltIn {})
    }
}

/// The operator's own certificate authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuiltIn {}

/// Logs of the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Observability {
    /// How much is logged: Error, Warn, Info, Debug or Trace.
    pub log_level: LogLevel,
    /// Json (one object a line) or Text (for people).
    pub log_format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what is suspicious.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And how.
    Debug,
    /// Everything.
    Trace,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// The realms of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Realms {
    /// Which realms may attach.
    pub admit: AdmitRealms,
}

/// Which realms may attach to the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-kubernetes-validations" = admission([(
    "self.from == 'Same' || self.from == 'None' || has(self.hosts)",
    "hosts is needed when realms of other namespaces are admitted: list the hosts that their issuers may have",
)])))]
pub struct AdmitRealms {
    /// From which namespaces: Same (only the AuthServer's own), Selector or Names (these, and the
    /// own), All, or None.
    pub from: AdmitFrom,
    /// For Selector: which namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
    /// For Names: which namespaces. Needs no right to read namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub names: Vec<NamespaceName>,
    /// Hosts that issuers may have, such as `login.example.com` or `*.example.com`. When absent,
    /// any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<HostPattern>,
}

/// What is known about the fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthServerStatus {
    /// Generation of the spec that `Ready` speaks of; -1 before the first.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
    /// The pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCounts>,
    /// Realms that the fleet serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub realms: Option<i32>,
    /// Clients that the fleet serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub clients: Option<i32>,
    /// The configuration that the fleet should serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<FleetConfiguration>,
    /// Version of the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
}

/// How many pods there are, and how many of them are up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaCounts {
    /// Pods that should be there.
    #[schemars(range(min = 0))]
    pub desired: i32,
    /// Pods that are ready.
    #[schemars(range(min = 0))]
    pub ready: i32,
    /// Ready pods that serve the current configuration.
    #[schemars(range(min = 0))]
    pub programmed: i32,
    /// `programmed/ready`, for `kubectl get`.
    #[schemars(length(max = 32))]
    pub summary: String,
}

impl ReplicaCounts {
    /// Counts with their summary.
    pub fn new(desired: i32, ready: i32, programmed: i32) -> Self {
        Self {
            desired,
            ready,
            programmed,
            summary: format!("{programmed}/{ready}"),
        }
    }
}

/// The configuration of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetConfiguration {
    /// Hash of its content.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// When the line of generations began, in Unix seconds.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// Its generation within the epoch.
    #[schemars(range(min = 0))]
    pub generation: i64,
}
