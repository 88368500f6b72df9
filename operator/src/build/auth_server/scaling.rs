//! How many pods there are, and who says so: PodDisruptionBudget, HorizontalPodAutoscaler, and the hand-over of the
//! Deployment's `replicas` between the operator and the autoscaler.
//!
//! Server-side apply removes a field that its only owner drops, and a Deployment without `replicas` has one pod. So the
//! live number is first applied once under a second field manager; only then is the field dropped.

use crds::auth_server::{Autoscaling, Management};
use serde_json::{Value, json};

use super::BuildInputs;
use super::pod::selector;
use crate::build::{Desired, field, set, text};
use crate::world::ChildKind;

/// Annotation of the Deployment: who sets `replicas`.
pub(super) const REPLICAS_ANNOTATION: &str = "auth.nauthera.io/replicas";
/// Field manager that holds `replicas` for the autoscaler until that has changed it first.
const HAND_OVER_MANAGER: &str = "nauthera-operator-replicas";

const OPERATOR: &str = "operator";
const AUTOSCALER: &str = "autoscaler";

/// What the Deployment says about its number of pods.
pub(super) struct Replicas {
    /// The number, when it is the operator's.
    pub(super) count: Option<i32>,
    /// Who owns it.
    pub(super) owner: &'static str,
}

/// A new Deployment starts with the operator's number, also under an autoscaler: with none it would start with one pod.
pub(super) fn replicas(inputs: &BuildInputs<'_>) -> Replicas {
    match autoscaling(inputs) {
        Some(_) if inputs.deployment().is_some() => Replicas {
            count: None,
            owner: AUTOSCALER,
        },
        _ => Replicas {
            count: Some(wanted(inputs)),
            owner: OPERATOR,
        },
    }
}

/// How many pods the spec asks for; an embedded database has one.
pub(super) fn wanted(inputs: &BuildInputs<'_>) -> i32 {
    let count = crate::resolve::wanted_replicas(inputs.server);
    if inputs.is_embedded() { count.min(1) } else { count }
}

fn autoscaling<'a>(inputs: &BuildInputs<'a>) -> Option<&'a Autoscaling> {
    inputs
        .server
        .spec
        .autoscaling
        .as_ref()
        .filter(|_| !inputs.is_embedded())
}

/// The one apply that hands the live number over; must be written before the Deployment.
pub(super) fn hand_over(inputs: &BuildInputs<'_>) -> Option<Desired> {
    autoscaling(inputs)?;
    let live = inputs.deployment()?;
    if text(live, &["metadata", "annotations", REPLICAS_ANNOTATION]) == Some(AUTOSCALER) {
        return None;
    }
    let count = field(live, &["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(1);
    let id = inputs.id(ChildKind::Deployment, inputs.key.name.clone());
    Some(Desired {
        object: json!({
            "apiVersion": id.kind.api_version(),
            "kind": id.kind.as_str(),
            "metadata": {"name": id.key.name, "namespace": id.key.namespace},
            "spec": {"replicas": count},
        }),
        id,
        manager: HAND_OVER_MANAGER,
    })
}

pub(super) fn build(inputs: &BuildInputs<'_>) -> Vec<Desired> {
    budget(inputs).into_iter().chain(autoscaler(inputs)).collect()
}

fn budget(inputs: &BuildInputs<'_>) -> Option<Desired> {
    let budget = &inputs.server.spec.pod_disruption_budget;
    let most = autoscaling(inputs).map_or(wanted(inputs), |autoscaling| autoscaling.max_replicas);
    if budget.mode == Management::Disabled || most < 2 {
        return None;
    }
    let body = json!({"spec": {
        "maxUnavailable": budget.max_unavailable,
        "selector": {"matchLabels": selector(inputs.key)},
        // A pod that cannot become ready must not block the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }});
    Some(inputs.child(ChildKind::PodDisruptionBudget, inputs.key.name.clone(), body))
}

fn autoscaler(inputs: &BuildInputs<'_>) -> Option<Desired> {
    let autoscaling = autoscaling(inputs)?;
    let mut body = json!({"spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": inputs.key.name},
        "minReplicas": autoscaling.min_replicas,
        "maxReplicas": autoscaling.max_replicas,
    }});
    let cpu = json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": autoscaling.target_cpu_percent},
    }});
    set(&mut body, &["spec", "metrics"], json!([cpu]));
    Some(inputs.child(ChildKind::HorizontalPodAutoscaler, inputs.key.name.clone(), body))
}
