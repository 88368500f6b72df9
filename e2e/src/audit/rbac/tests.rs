//! The comparison, on requests to a real API server under the rules below.

use serde_json::json;

use super::super::tests::SAMPLE;
use super::*;

fn account() -> ServiceAccount {
    ServiceAccount {
        namespace: "nauthera-system".to_owned(),
        name: "nauthera-operator".to_owned(),
    }
}

/// What the server had when it answered.
fn rules() -> Vec<Value> {
    let subjects = json!([{"kind": "ServiceAccount", "name": "nauthera-operator", "namespace": "nauthera-system"}]);
    let named = json!({"name": "nauthera-operator"});
    let own = json!({"name": "nauthera-operator", "namespace": "nauthera-system"});
    vec![
        json!({"kind": "ClusterRole", "metadata": named, "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["fixed"], "verbs": ["get", "patch", "create"]},
            {"apiGroups": ["apps"], "resources": ["deployments", "deployments/status"], "verbs": ["get", "delete"]},
            {"apiGroups": [""], "resources": ["services"], "verbs": ["patch"]},
        ]}),
        json!({"kind": "ClusterRoleBinding", "metadata": named, "subjects": subjects,
            "roleRef": {"kind": "ClusterRole", "name": "nauthera-operator"}}),
        json!({"kind": "Role", "metadata": own, "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["nauthera-operator"],
                "verbs": ["get", "update"]},
        ]}),
        json!({"kind": "RoleBinding", "metadata": own, "subjects": subjects,
            "roleRef": {"kind": "Role", "name": "nauthera-operator"}}),
        // Somebody else's.
        json!({"kind": "RoleBinding", "metadata": own, "roleRef": {"kind": "Role", "name": "absent"},
            "subjects": [{"kind": "ServiceAccount", "name": "nauthera-operator", "namespace": "shop"}]}),
    ]
}

fn lines(access: &BTreeSet<Access>) -> Vec<String> {
    access.iter().map(ToString::to_string).collect()
}

#[test]
fn rights_that_nobody_used_and_requests_without_a_right_are_named() {
    let replay = replay(&Log::parse(SAMPLE).unwrap(), &account(), &rules()).unwrap();
    assert!(!replay.is_exact());
    assert_eq!(
        lines(&replay.unused),
        [
            "get configmaps in the cluster",
            "get secrets fixed in the cluster",
            "delete deployments.apps in the cluster",
            "delete deployments/status.apps in the cluster",
            "get deployments/status.apps in the cluster",
            "get leases.coordination.k8s.io nauthera-operator in nauthera-system",
        ]
    );
    assert_eq!(
        lines(&replay.not_granted),
        [
            "get /metrics in the cluster",
            "deletecollection configmaps in shop",
            "patch secrets other in shop",
            // The apply was allowed to patch, and stopped where it would have made the object.
            "create services s in shop",
            "list deployments.apps a in shop",
        ]
    );
}

#[test]
fn an_apply_that_makes_the_object_uses_create_by_name_and_a_post_uses_it_without() {
    let replay = replay(&Log::parse(SAMPLE).unwrap(), &account(), &rules()).unwrap();
    let used = lines(&replay.used);
    for access in [
        "create configmaps a in shop",
        "create secrets fixed in shop",
        "create leases.coordination.k8s.io in nauthera-system",
    ] {
        assert!(used.iter().any(|used| used == access), "{access} in {used:#?}");
    }
    // A namespace that goes away refuses new objects; that is no lack of a right.
    assert!(used.iter().any(|used| used == "patch configmaps b in shop"));
}

#[test]
fn a_rule_in_another_namespace_grants_nothing() {
    let mut rules = rules();
    rules[3]["metadata"]["namespace"] = json!("shop");
    rules[2]["metadata"]["namespace"] = json!("shop");
    let replay = replay(&Log::parse(SAMPLE).unwrap(), &account(), &rules).unwrap();
    assert!(lines(&replay.not_granted).contains(&"create leases.coordination.k8s.io in nauthera-system".to_owned()));
}

#[test]
fn wildcards_and_dangling_bindings_are_refused() {
    let mut wildcard = rules();
    wildcard[0]["rules"][0]["verbs"] = json!(["*"]);
    assert!(format!("{:#}", grants(&account(), &wildcard).unwrap_err()).contains("wildcard"));
    let mut dangling = rules();
    dangling.remove(2);
    assert!(format!("{:#}", grants(&account(), &dangling).unwrap_err()).contains("not there"));
}
