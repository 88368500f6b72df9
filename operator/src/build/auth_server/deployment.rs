//! The Deployment of the servers.
//!
//! A roll-out adds one pod before it takes one away, and a pod that goes first leaves the Service, then drains: the
//! kubelet waits a few seconds before SIGTERM, because routers learn of it later than the pod itself. An embedded
//! database has one writer: there the old pod ends before the new one starts.

use crds::auth_server::{Database, TopologySpread};
use serde_json::{Value, json};

use super::image::{Choice, IMAGE_ANNOTATION, VERSION_ANNOTATION};
use super::migration::MIGRATED_ANNOTATION;
use super::overlay::Extent;
use super::pod::{self, CONTAINER, HEALTH, HEALTH_PORT, HTTP, HTTP_PORT};
use super::scaling::{self, REPLICAS_ANNOTATION};
use super::settings::DRAIN_SECONDS;
use super::{BuildInputs, migration, settings};
use crate::build::{Desired, MANAGED_BY, hash, set};
use crate::world::ChildKind;

/// Annotation of the pods: hash of the variables that they were started with.
const SETTINGS_ANNOTATION: &str = "auth.nauthera.io/settings";

/// How long a pod that goes still takes requests: until every router knows.
const PRE_STOP_SECONDS: u32 = 5;

pub(super) fn build(inputs: &BuildInputs<'_>, choice: &Choice, migrated: Option<&str>) -> Desired {
    let mut body = json!({"spec": {
        "selector": {"matchLabels": pod::selector(inputs.key)},
        "strategy": strategy(inputs),
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 600,
        "template": template(inputs, choice),
    }});
    let replicas = scaling::replicas(inputs);
    if let Some(count) = replicas.count {
        set(&mut body, &["spec", "replicas"], json!(count));
    }
    let annotations = [
        (REPLICAS_ANNOTATION, Some(replicas.owner)),
        (VERSION_ANNOTATION, choice.version.as_deref()),
        (IMAGE_ANNOTATION, choice.version.as_ref().map(|_| choice.image.as_str())),
        (MIGRATED_ANNOTATION, migrated),
    ];
    for (name, value) in annotations {
        if let Some(value) = value {
            set(&mut body, &["metadata", "annotations", name], json!(value));
        }
    }
    inputs.child(ChildKind::Deployment, inputs.key.name.clone(), body)
}

fn strategy(inputs: &BuildInputs<'_>) -> Value {
    if inputs.is_embedded() {
        json!({"type": "Recreate"})
    } else {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    }
}

/// The pod template. Follows from the spec and the version of the servers only.
fn template(inputs: &BuildInputs<'_>, choice: &Choice) -> Value {
    let mounts = pod::database(inputs).into_iter().chain(pod::link(inputs)).collect();
    let (volumes, mounts) = pod::mount(mounts);
    let mut spec = pod::spec(inputs);
    let grace = PRE_STOP_SECONDS + DRAIN_SECONDS + 10;
    set(&mut spec, &["terminationGracePeriodSeconds"], json!(grace));
    set(&mut spec, &["volumes"], json!(volumes));
    set(&mut spec, &["containers"], json!([container(inputs, choice, &mounts)]));
    if let Database::Embedded(_) = inputs.server.spec.database {
        let (_, mounts) = pod::mount(pod::database(inputs));
        let migrate = migration::container(inputs, choice, &mounts);
        set(&mut spec, &["initContainers"], json!([migrate]));
    }
    let spread = spread(inputs);
    if !spread.is_empty() {
        set(&mut spec, &["topologySpreadConstraints"], json!(spread));
    }
    let mut labels = json!(pod::selector(inputs.key));
    set(&mut labels, &[MANAGED_BY.0], json!(MANAGED_BY.1));
    let hash = hash(&json!(settings::variables(inputs)), 16);
    let template = json!({
        "metadata": {"labels": labels, "annotations": {SETTINGS_ANNOTATION: hash}},
        "spec": spec,
    });
    pod::overlaid(inputs, template, Extent::Servers)
}

fn container(inputs: &BuildInputs<'_>, choice: &Choice, mounts: &[Value]) -> Value {
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": HEALTH},
            "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures,
        })
    };
    json!({
        "name": CONTAINER,
        "image": choice.image,
        "args": ["serve"],
        "envFrom": [{"configMapRef": {"name": settings::name(inputs.key)}}],
        "ports": [
            {"name": HTTP, "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": HEALTH, "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        // Ten minutes for a database or a configuration that is not there yet; then the pod is started again.
        "startupProbe": probe("/startupz", 1, 600),
        "readinessProbe": probe("/readyz", 5, 2),
        "livenessProbe": probe("/livez", 10, 6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "resources": pod::resources(inputs),
        "securityContext": pod::container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    })
}

fn spread(inputs: &BuildInputs<'_>) -> Vec<Value> {
    let unsatisfiable = match inputs.server.spec.topology_spread {
        TopologySpread::Preferred => "ScheduleAnyway",
        TopologySpread::Required => "DoNotSchedule",
        TopologySpread::Disabled => return Vec::new(),
    };
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .into_iter()
        .map(|key| {
            json!({
                "topologyKey": key,
                "maxSkew": 1,
                "whenUnsatisfiable": unsatisfiable,
                "labelSelector": {"matchLabels": pod::selector(inputs.key)},
                // A roll-out is spread by itself, not against the pods that it replaces.
                "matchLabelKeys": ["pod-template-hash"],
            })
        })
        .collect()
}
