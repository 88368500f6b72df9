//! The NetworkPolicy: pods take connections on their two ports only.
//!
//! From anywhere, because an ingress controller, a gateway, a monitoring system or a node's kubelet cannot be told by a
//! selector that holds in every cluster. What pods may reach is left open: database, mail servers, identity providers
//! and webhooks are wherever people put them, and a policy that guessed would break logins.

use crds::auth_server::Management;
use serde_json::json;

use super::BuildInputs;
use super::pod::{HEALTH, HTTP, selector};
use crate::build::Desired;
use crate::world::ChildKind;

pub(super) fn build(inputs: &BuildInputs<'_>) -> Option<Desired> {
    if inputs.server.spec.network_policy == Management::Disabled {
        return None;
    }
    let body = json!({"spec": {
        "podSelector": {"matchLabels": selector(inputs.key)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": HTTP, "protocol": "TCP"}, {"port": HEALTH, "protocol": "TCP"}]}],
    }});
    Some(inputs.child(ChildKind::NetworkPolicy, inputs.key.name.clone(), body))
}
