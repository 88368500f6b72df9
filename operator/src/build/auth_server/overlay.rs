//! Lays `spec.podTemplate` over a pod template, as a strategic merge patch: objects are merged, lists whose items have a
//! key are merged by it, other lists are replaced, `null` removes, and `$patch: delete` or `replace` are understood.

use crds::auth_server::PodTemplate;
use serde_json::{Map, Value, json};

use crate::apply::differ::item_key;

/// How much of the overlay counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Servers,
    /// What decides where a pod runs and who may pull its image: a Job does not end while a sidecar runs.
    Job,
}

/// Parts of the overlay that are meant for servers only.
const SERVERS_ONLY: &[&str] = &[
    "containers",
    "initContainers",
    "volumes",
    "restartPolicy",
    "topologySpreadConstraints",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
];

/// The template with the overlay on it. Our own labels win.
pub(super) fn lay(template: Value, over: &PodTemplate, extent: Extent) -> Value {
    let mut result = template;
    let ours = result.pointer("/metadata/labels").cloned();
    let spec: Map<String, Value> = over
        .spec
        .iter()
        .filter(|(name, _)| extent == Extent::Servers || !SERVERS_ONLY.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let metadata = over.metadata.as_ref().map_or(json!({}), |metadata| json!(metadata));
    merge(&mut result, "", &json!({"metadata": metadata, "spec": spec}));
    if let Some(ours) = ours {
        merge(&mut result, "", &json!({"metadata": {"labels": ours}}));
    }
    result
}

fn merge(base: &mut Value, name: &str, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_objects(base, over),
        (Value::Array(base), Value::Array(over)) if is_keyed(name, base, over) => merge_lists(base, name, over),
        (base, over) => *base = without_directives(over),
    }
}

fn merge_objects(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    if directive(over) == Some("replace") {
        base.clear();
    }
    for (name, value) in over {
        match value {
            Value::Null => {
                base.remove(name);
            }
            _ if name.starts_with("$patch") => {}
            value => match base.get_mut(name) {
                Some(base) => merge(base, name, value),
                None => {
                    base.insert(name.clone(), without_directives(value));
                }
            },
        }
    }
}

fn is_keyed(name: &str, base: &[Value], over: &[Value]) -> bool {
    match item_key(name, over) {
        Some(key) => base.is_empty() || item_key(name, base) == Some(key),
        None => false,
    }
}

fn merge_lists(base: &mut Vec<Value>, name: &str, over: &[Value]) {
    let Some(key) = item_key(name, over) else { return };
    for item in over {
        let at = base.iter().position(|other| other.get(key) == item.get(key));
        let is_deleted = item.as_object().and_then(directive) == Some("delete");
        match at {
            Some(at) if is_deleted => {
                base.remove(at);
            }
            Some(at) => {
                if let Some(other) = base.get_mut(at) {
                    merge(other, "", item);
                }
            }
            None if is_deleted => {}
            None => base.push(without_directives(item)),
        }
    }
}

fn directive(object: &Map<String, Value>) -> Option<&str> {
    object.get("$patch")?.as_str()
}

/// What is new must not carry what only a patch may say.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, value)| !name.starts_with("$patch") && !value.is_null())
                .map(|(name, value)| (name.clone(), without_directives(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_directives).collect()),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(over: Value, expected: &Value) {
        let template = json!({
            "metadata": {"labels": {"app": "ours"}},
            "spec": {"tolerations": [{"key": "a"}], "containers": [
                {"name": "auth-server", "image": "x", "env": [{"name": "A", "value": "1"}]},
            ]},
        });
        let over: PodTemplate = serde_json::from_value(over).unwrap();
        assert_eq!(&lay(template, &over, Extent::Servers), expected);
    }

    #[test]
    fn containers_and_variables_are_merged_by_name() {
        check(
            json!({
                "metadata": {"labels": {"app": "theirs", "team": "id"}},
                "spec": {
                    "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"key": "b"}],
                    "containers": [
                        {"name": "auth-server", "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
                        {"name": "sidecar", "image": "y"},
                    ],
                },
            }),
            &json!({
                "metadata": {"labels": {"app": "ours", "team": "id"}},
                "spec": {
                    "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"key": "b"}],
                    "containers": [
                        {"name": "auth-server", "image": "x", "env": [
                            {"name": "A", "value": "2"}, {"name": "B", "value": "3"},
                        ]},
                        {"name": "sidecar", "image": "y"},
                    ],
                },
            }),
        );
    }

    #[test]
    fn null_and_directives_remove() {
        check(
            json!({"spec": {"tolerations": null, "containers": [
                {"name": "auth-server", "env": [{"name": "A", "$patch": "delete"}]},
                {"name": "none", "$patch": "delete"},
            ]}}),
            &json!({
                "metadata": {"labels": {"app": "ours"}},
                "spec": {"containers": [{"name": "auth-server", "image": "x", "env": []}]},
            }),
        );
    }
}
