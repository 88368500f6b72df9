//! Builders for the CEL rules that stand beside the fields (`x-kubernetes-validations`).
//!
//! Every message names what is wrong and what to write instead; the same text is shown by the API
//! server and by the offline check.

use serde_json::{Value, json};

/// The value of `x-kubernetes-validations` for pairs of (expression, message).
pub(crate) fn rules<const N: usize>(pairs: [(&str, &str); N]) -> Value {
    pairs
        .iter()
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect()
}

/// A duration between two bounds, both included.
pub(crate) fn between(min: &str, max: &str) -> Value {
    json!([{
        "rule": format!("duration(self) >= duration('{min}') && duration(self) <= duration('{max}')"),
        "message": format!("must be a duration between {min} and {max}"),
    }])
}

/// How the message of a union begins.
pub(crate) const ONE_OF: &str = "set exactly one of";

/// Exactly one of the members of a union is set.
pub(crate) fn one_of<const N: usize>(members: [&str; N]) -> Value {
    let set: Vec<String> = members.iter().map(|member| format!("has(self.{member})")).collect();
    json!([{
        "rule": format!("[{}].exists_one(member, member)", set.join(", ")),
        "message": format!("{ONE_OF} {}", members.join(", ")),
    }])
}

/// The fields that `NamespaceAdmission` and its flattened uses share, checked together.
pub(crate) fn admission<const N: usize>(more: [(&str, &str); N]) -> Value {
    let mut all = rules([
        (
            "(self.from == 'Selector') == has(self.selector)",
            "selector is set if, and only if, from is Selector",
        ),
        (
            "(self.from == 'Names') == has(self.names)",
            "names is set if, and only if, from is Names",
        ),
    ]);
    if let (Some(all), Value::Array(more)) = (all.as_array_mut(), rules(more)) {
        all.extend(more);
    }
    all
}
