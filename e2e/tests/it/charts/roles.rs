//! What the roles of the charts grant.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MODES, NAMESPACE, objects, rendered};

/// Verbs and resources by which rights grow.
const ESCALATING: [&str; 10] = [
    "*",
    "escalate",
    "bind",
    "impersonate",
    "deletecollection",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "serviceaccounts/token",
];

fn words(rule: &Value, field: &str) -> Vec<String> {
    let list = rule[field].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn rules(object: &Value) -> Vec<Value> {
    object["rules"].as_array().cloned().unwrap_or_default()
}

#[test]
fn no_role_of_the_operator_is_broad_or_lets_rights_grow() {
    for values in MODES {
        for object in objects(&rendered("nauthera", values).unwrap()).unwrap() {
            for rule in rules(&object) {
                assert!(rule["nonResourceURLs"].is_null(), "{rule}");
                let said = [
                    words(&rule, "apiGroups"),
                    words(&rule, "resources"),
                    words(&rule, "verbs"),
                ]
                .concat();
                for word in ESCALATING {
                    assert!(!said.iter().any(|one| one == word), "{word} in {rule}");
                }
            }
        }
    }
}

#[test]
fn every_rule_says_what_it_is_for() {
    for values in MODES {
        let text = rendered("nauthera", values).unwrap();
        let mut before = "";
        let mut explained = false;
        for line in text.lines() {
            if line.starts_with("- apiGroups:") {
                // A rule that belongs to the former one stands right behind it.
                explained = before.starts_with('#') || (explained && before.starts_with("  verbs:"));
                assert!(explained, "no comment before {line}, which follows {before}");
            }
            before = line;
        }
    }
}

#[test]
fn a_rule_names_each_right_once() {
    for values in MODES {
        for object in objects(&rendered("nauthera", values).unwrap()).unwrap() {
            let mut seen = BTreeSet::new();
            for rule in rules(&object) {
                for group in words(&rule, "apiGroups") {
                    for resource in words(&rule, "resources") {
                        for verb in words(&rule, "verbs") {
                            let right = (group.clone(), resource.clone(), verb);
                            assert!(
                                seen.insert(right.clone()),
                                "{right:?} twice in {}",
                                object["metadata"]["name"]
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn single_namespaces_need_no_cluster_role() {
    for (values, expected) in [
        (MODES[1], BTreeSet::from([NAMESPACE])),
        (MODES[2], BTreeSet::from([NAMESPACE, "identity", "shop"])),
    ] {
        let found = objects(&rendered("nauthera", values).unwrap()).unwrap();
        let mut places = BTreeSet::new();
        for object in &found {
            let kind = object["kind"].as_str().unwrap();
            assert!(!kind.starts_with("Cluster"), "{kind} in {values:?}");
            places.insert(object["metadata"]["namespace"].as_str().expect(kind));
        }
        assert_eq!(places, expected);
        // Namespaces are cluster-scoped: no Role can grant them.
        let granted = found.iter().flat_map(rules).flat_map(|rule| words(&rule, "resources"));
        assert!(granted.into_iter().all(|resource| resource != "namespaces"));
    }
}

#[test]
fn people_get_their_roles_from_the_roles_of_the_cluster() {
    let found = objects(&rendered("nauthera-crds", &[]).unwrap()).unwrap();
    let mut table = Vec::new();
    for role in found.iter().filter(|object| object["kind"] == "ClusterRole") {
        let name = role["metadata"]["name"].as_str().unwrap();
        let into = name.trim_start_matches("nauthera-");
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{into}");
        assert_eq!(role["metadata"]["labels"][label], "true", "{name}");
        for rule in rules(role) {
            table.push(format!(
                "{into}: {} {}",
                words(&rule, "verbs").join(","),
                words(&rule, "resources").join(",")
            ));
        }
    }
    table.sort();
    assert_eq!(
        table,
        [
            "admin: create,update,patch,delete,deletecollection authservers,realms",
            "edit: create,update,patch,delete,deletecollection clients",
            "view: get,list,watch authservers,realms,clients",
        ]
    );
}
