//! In which fields a live object differs from a desired one.
//!
//! Only fields that are desired count: what others set beside them is theirs. Lists whose items have a key are compared
//! by it, so that a sidecar or a variable that somebody added does not count; all other lists are compared whole.
//! Quantities are compared by value, for the API server writes them its own way.

use serde_json::Value;

/// Lists that the API server merges by a key of their items.
const KEYED: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("env", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["containerPort", "port"]),
    ("topologySpreadConstraints", &["topologyKey"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// Fields that hold quantities, themselves or below them.
const QUANTITIES: &[&str] = &["requests", "limits", "sizeLimit", "capacity"];

/// Paths of the desired fields that the live object lacks or has with another value, such as
/// `spec.template.spec.containers[auth-server].image`.
pub fn differs(desired: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(&Place::root(), desired, Some(live), &mut found);
    found
}

/// The keys by which items of the list `name` are told apart; the first one that the items have counts.
pub(crate) fn item_key(name: &str, items: &[Value]) -> Option<&'static str> {
    let (_, keys) = KEYED.iter().find(|(list, _)| *list == name)?;
    keys.iter()
        .copied()
        .find(|key| !items.is_empty() && items.iter().all(|item| item.get(*key).is_some()))
}

struct Place {
    path: String,
    name: String,
    is_quantity: bool,
}

impl Place {
    fn root() -> Self {
        Self {
            path: String::new(),
            name: String::new(),
            is_quantity: false,
        }
    }

    fn field(&self, name: &str) -> Self {
        let path = match (self.path.is_empty(), name.contains(['.', '/'])) {
            (_, true) => format!("{}[{name}]", self.path),
            (true, false) => name.to_owned(),
            (false, false) => format!("{}.{name}", self.path),
        };
        Self {
            path,
            name: name.to_owned(),
            is_quantity: self.is_quantity || QUANTITIES.contains(&name),
        }
    }

    fn item(&self, key: &str) -> Self {
        Self {
            path: format!("{}[{key}]", self.path),
            name: String::new(),
            is_quantity: self.is_quantity,
        }
    }
}

fn compare(place: &Place, desired: &Value, live: Option<&Value>, found: &mut Vec<String>) {
    match (desired, live) {
        (Value::Null, None | Some(Value::Null)) => {}
        (Value::Object(fields), live) if live.is_none_or(Value::is_object) => {
            // The API server leaves out an empty object.
            if live.is_none() && !fields.is_empty() {
                found.push(place.path.clone());
                return;
            }
            for (name, desired) in fields {
                // Lists leave out what kind their items are of; it cannot change.
                if place.path.is_empty() && ["apiVersion", "kind"].contains(&name.as_str()) {
                    continue;
                }
                let live = live.and_then(|live| live.get(name));
                compare(&place.field(name), desired, live, found);
            }
        }
        (Value::Array(items), Some(Value::Array(live))) => compare_lists(place, items, live, found),
        (Value::Array(items), None) if items.is_empty() => {}
        (desired, Some(live)) if same(place, desired, live) => {}
        _ => found.push(place.path.clone()),
    }
}

fn compare_lists(place: &Place, desired: &[Value], live: &[Value], found: &mut Vec<String>) {
    if let Some(key) = item_key(&place.name, desired) {
        for item in desired {
            let Some(value) = item.get(key) else { continue };
            let of_same_key = live.iter().find(|other| other.get(key) == Some(value));
            let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            compare(&place.item(&name), item, of_same_key, found);
        }
    } else if desired.len() == live.len() {
        for (index, (desired, live)) in desired.iter().zip(live).enumerate() {
            compare(&place.item(&index.to_string()), desired, Some(live), found);
        }
    } else {
        found.push(place.path.clone());
    }
}

fn same(place: &Place, desired: &Value, live: &Value) -> bool {
    if desired == live {
        return true;
    }
    if let (Value::Number(desired), Value::Number(live)) = (desired, live) {
        return desired.as_f64() == live.as_f64();
    }
    place.is_quantity && matches!((milli(desired), milli(live)), (Some(a), Some(b)) if a == b)
}

/// A quantity in thousandths, as far as it is a whole number of them.
fn milli(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: i128 = match unit {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = value.checked_mul(factor)?;
    (scaled % scale == 0).then_some(scaled / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn only_desired_fields_count() {
        let desired = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 2, "empty": {}, "none": []}});
        let live =
            json!({"metadata": {"labels": {"a": "1", "b": "2"}, "uid": "x"}, "spec": {"replicas": 2, "paused": true}});
        assert!(differs(&desired, &live).is_empty());
        let edited = json!({"metadata": {"labels": {"b": "2"}}, "spec": {"replicas": 3}});
        assert_eq!(differs(&desired, &edited), ["metadata.labels.a", "spec.replicas"]);
        assert_eq!(differs(&json!({"spec": {"a": {"b": 1}}}), &json!({})), ["spec"]);
    }

    #[test]
    fn lists_with_keys_are_compared_by_key() {
        let desired = json!({"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}]});
        let live = json!({"containers": [
            {"name": "sidecar", "image": "z"},
            {"name": "a", "image": "y", "ports": [{"containerPort": 9}, {"containerPort": 80, "protocol": "TCP"}]},
        ]});
        assert_eq!(differs(&desired, &live), ["containers[a].image"]);
        assert_eq!(
            differs(&json!({"command": ["a"]}), &json!({"command": ["a", "b"]})),
            ["command"]
        );
        assert_eq!(
            differs(&json!({"command": ["a"]}), &json!({"command": ["b"]})),
            ["command[0]"]
        );
        assert_eq!(
            differs(&json!({"annotations": {"a.b/c": "1"}}), &json!({"annotations": {}})),
            ["annotations[a.b/c]"]
        );
    }

    #[test]
    fn quantities_are_compared_by_value() {
        for (desired, live) in [
            (json!("1000m"), json!("1")),
            (json!("1024Mi"), json!("1Gi")),
            (json!("0.5"), json!("500m")),
            (json!(2), json!("2")),
            (json!("1.5Gi"), json!("1536Mi")),
            (json!("1000k"), json!("1M")),
        ] {
            let found = differs(&json!({"limits": {"x": desired}}), &json!({"limits": {"x": live}}));
            assert!(found.is_empty(), "{found:?}");
        }
        assert_eq!(
            differs(&json!({"limits": {"x": "1"}}), &json!({"limits": {"x": "2"}})),
            ["limits.x"]
        );
        // Elsewhere a text is a text.
        assert_eq!(
            differs(&json!({"data": {"x": "1000m"}}), &json!({"data": {"x": "1"}})),
            ["data.x"]
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{1,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,4}", inner, 1..4).prop_map(|map| json!(map)),
            ]
        })
    }

    /// Every way to change one leaf.
    fn spoilt(value: &Value) -> Vec<Value> {
        match value {
            Value::Object(fields) => {
                let mut all = Vec::new();
                for (name, inner) in fields {
                    for changed in spoilt(inner) {
                        let mut copy = fields.clone();
                        copy.insert(name.clone(), changed);
                        all.push(Value::Object(copy));
                    }
                    let mut copy = fields.clone();
                    copy.remove(name);
                    all.push(Value::Object(copy));
                }
                all
            }
            Value::Array(items) => {
                let mut all = Vec::new();
                for (index, inner) in items.iter().enumerate() {
                    for changed in spoilt(inner) {
                        let mut copy = items.clone();
                        copy[index] = changed;
                        all.push(Value::Array(copy));
                    }
                }
                all.push(Value::Array([items.as_slice(), &[json!("more")]].concat()));
                all
            }
            _ => vec![json!("something else")],
        }
    }

    proptest! {
        #[test]
        fn an_object_does_not_differ_from_itself_and_from_nothing_smaller(object in value()) {
            let object = json!({"spec": object});
            prop_assert_eq!(differs(&object, &object), Vec::<String>::new());
            for other in spoilt(&object) {
                prop_assert!(!differs(&object, &other).is_empty(), "{} taken for {}", other, object);
            }
        }

        #[test]
        fn what_others_add_to_an_object_does_not_count(object in value(), added in value()) {
            let desired = json!({"spec": {"ours": object}});
            let live = json!({"spec": {"ours": object, "theirs": added}, "status": added});
            prop_assert!(differs(&desired, &live).is_empty());
        }
    }
}
