//! The API only grows: a field that was released is neither removed nor narrowed, for objects of users stand on it.
//!
//! `crds/baseline` holds the schemas of the last release. Additions pass as they are; `UPDATE_BASELINE=1 cargo test -p
//! crds --test it baseline` puts them under protection, and refuses to while something was removed or narrowed.

use std::path::{Path, PathBuf};

use crds::manifests::Kind;
use serde_json::{Map, Value};

/// Keywords whose value may only grow, and those whose value may only shrink.
const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
/// Keywords that a value that was accepted, or the meaning of one, depends on.
const SAME: [&str; 8] = [
    "type",
    "format",
    "pattern",
    "default",
    "nullable",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
];

fn file(kind: Kind) -> PathBuf {
    let name = kind.file_name().replace(".yaml", ".json");
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline").join(name)
}

/// The parts of a definition that objects depend on.
fn released(kind: Kind) -> Value {
    let definition = kind.definition().unwrap();
    let spec = &definition["spec"];
    let mut versions = Map::new();
    for version in spec["versions"].as_array().unwrap() {
        let mut schema = version["schema"]["openAPIV3Schema"].clone();
        forget_prose(&mut schema);
        versions.insert(version["name"].as_str().unwrap().to_owned(), schema);
    }
    serde_json::json!({ "scope": spec["scope"], "names": spec["names"], "versions": versions })
}

fn forget_prose(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("description").is_some_and(Value::is_string) {
                members.remove("description");
            }
            members.values_mut().for_each(forget_prose);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_prose),
        _ => {}
    }
}

/// Everything that objects could rely on by `old` and cannot by `new`.
fn narrowed(path: &str, old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for keyword in SAME {
        if old.get(keyword) != new.get(keyword) {
            found.push(format!("{path}: {keyword} changed"));
        }
    }
    let tighter = |keyword: &&str, grows: bool| match (old.get(keyword), new.get(keyword)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => {
            let (old, new) = (old.as_f64().unwrap_or(0.0), new.as_f64().unwrap_or(0.0));
            if grows { new < old } else { new > old }
        }
    };
    let upper = UPPER.iter().filter(|keyword| tighter(keyword, true));
    for keyword in upper.chain(LOWER.iter().filter(|keyword| tighter(keyword, false))) {
        found.push(format!("{path}: {keyword} became tighter"));
    }
    let members = |schema: &Value, keyword: &str| schema.get(keyword).and_then(Value::as_array).cloned();
    match (members(old, "enum"), members(new, "enum")) {
        (None, Some(_)) => found.push(format!("{path}: became a list of choices")),
        (Some(old), Some(new)) => {
            for gone in old.iter().filter(|choice| !new.contains(choice)) {
                found.push(format!("{path}: the choice {gone} is gone"));
            }
        }
        (_, None) => {}
    }
    for (keyword, what) in [
        ("required", "is required now"),
        ("x-kubernetes-validations", "is a new rule"),
    ] {
        let before = members(old, keyword).unwrap_or_default();
        let rule = |value: &Value| value.get("rule").unwrap_or(value).clone();
        for added in members(new, keyword).unwrap_or_default() {
            if !before.iter().any(|known| rule(known) == rule(&added)) {
                found.push(format!("{path}: {} {what}", rule(&added)));
            }
        }
    }
    if let Some(properties) = old.get("properties").and_then(Value::as_object) {
        for (name, old) in properties {
            let path = format!("{path}.{name}");
            match new.get("properties").and_then(|properties| properties.get(name)) {
                Some(new) => found.extend(narrowed(&path, old, new)),
                None => found.push(format!("{path}: is gone")),
            }
        }
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        match (old.get(keyword), new.get(keyword)) {
            (Some(old), Some(new)) => found.extend(narrowed(&format!("{path}{mark}"), old, new)),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => found.push(format!("{path}: {keyword} changed")),
        }
    }
    found
}

fn compare(kind: Kind, old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for keyword in ["scope", "names"] {
        if old[keyword] != new[keyword] {
            found.push(format!("{}: {keyword} changed", kind.as_str()));
        }
    }
    for (version, old) in old["versions"].as_object().unwrap() {
        let path = format!("{} {version}", kind.as_str());
        match new["versions"].get(version) {
            Some(new) => found.extend(narrowed(&path, old, new)),
            None => found.push(format!("{path}: is gone")),
        }
    }
    found
}

#[test]
fn nothing_that_was_released_is_removed_or_narrowed() {
    for kind in Kind::ALL {
        let (file, new) = (file(kind), released(kind));
        let committed = std::fs::read_to_string(&file).ok();
        if let Some(committed) = &committed {
            let found = compare(kind, &serde_json::from_str(committed).unwrap(), &new);
            assert!(
                found.is_empty(),
                "objects that users have would be refused or mean something else:\n  {}",
                found.join("\n  ")
            );
        }
        if std::env::var_os("UPDATE_BASELINE").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, serde_json::to_string_pretty(&new).unwrap() + "\n").unwrap();
        } else {
            assert!(committed.is_some(), "{} is missing", file.display());
        }
    }
}

#[test]
fn every_kind_of_narrowing_is_noticed() {
    let old = serde_json::json!({
        "type": "object", "required": ["a"], "x-kubernetes-validations": [{ "rule": "1 < 2" }],
        "properties": {
            "a": { "type": "string", "maxLength": 10, "minLength": 1, "enum": ["x", "y"] },
            "b": { "type": "array", "items": { "type": "integer" } },
        },
    });
    let check = |expected: &str, change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        let found = narrowed("spec", &old, &new);
        assert_eq!(
            found,
            if expected.is_empty() {
                vec![]
            } else {
                vec![expected.to_owned()]
            }
        );
    };
    check("", &|_| {});
    check("", &|new| {
        new["properties"]["c"] = serde_json::json!({ "type": "string" });
    });
    check("", &|new| {
        new["properties"]["a"]["maxLength"] = 11.into();
    });
    check("", &|new| {
        new["properties"]["a"]["enum"] = serde_json::json!(["x", "y", "z"]);
    });
    check("", &|new| {
        new["required"] = serde_json::json!([]);
    });
    check("spec.b: is gone", &|new| {
        new["properties"].as_object_mut().unwrap().remove("b");
    });
    check("spec.a: maxLength became tighter", &|new| {
        new["properties"]["a"]["maxLength"] = 9.into();
    });
    check("spec.a: minLength became tighter", &|new| {
        new["properties"]["a"]["minLength"] = 2.into();
    });
    check("spec.a: the choice \"y\" is gone", &|new| {
        new["properties"]["a"]["enum"] = serde_json::json!(["x"]);
    });
    check("spec.a: pattern changed", &|new| {
        new["properties"]["a"]["pattern"] = "^x".into();
    });
    check("spec.b[]: type changed", &|new| {
        new["properties"]["b"]["items"]["type"] = "string".into();
    });
    check("spec: \"b\" is required now", &|new| {
        new["required"] = serde_json::json!(["a", "b"]);
    });
    check("spec: \"2 < 1\" is a new rule", &|new| {
        new["x-kubernetes-validations"] = serde_json::json!([{ "rule": "1 < 2" }, { "rule": "2 < 1" }]);
    });
}
