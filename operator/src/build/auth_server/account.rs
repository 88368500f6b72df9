//! The ServiceAccount of the pods: a name for their tokens, without any right.

use serde_json::json;

use super::BuildInputs;
use crate::build::Desired;
use crate::world::ChildKind;

pub(super) fn build(inputs: &BuildInputs<'_>) -> Desired {
    let body = json!({"automountServiceAccountToken": false});
    inputs.child(ChildKind::ServiceAccount, inputs.key.name.clone(), body)
}
