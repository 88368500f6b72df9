//! The Service: one stable address in front of the pods. Its EndpointSlices also say which pods are ready.

use serde_json::json;

use super::BuildInputs;
use super::pod::{HTTP, selector};
use crate::build::Desired;
use crate::world::ChildKind;

/// Port of the Service.
pub(super) const PORT: i32 = 80;

pub(super) fn build(inputs: &BuildInputs<'_>) -> Desired {
    let body = json!({"spec": {
        "type": "ClusterIP",
        "selector": selector(inputs.key),
        "ports": [{"name": HTTP, "port": PORT, "targetPort": HTTP, "protocol": "TCP", "appProtocol": "http"}],
    }});
    inputs.child(ChildKind::Service, inputs.key.name.clone(), body)
}
