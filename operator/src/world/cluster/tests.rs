use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::*;

fn cache(namespaces: &Namespaces) -> Cache {
    Cache::new(namespaces, "nauthera-system", Admission::new().unwrap())
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// Every list is finished and empty.
fn complete(namespaces: &Namespaces) -> Cache {
    let cache = cache(namespaces);
    for scope in namespaces.scopes("nauthera-system") {
        cache.replace(&scope, BTreeMap::new());
    }
    cache
}

fn realm(name: &str, spec: &Value) -> DynamicObject {
    object(json!({
        "apiVersion": "auth.nauthera.io/v1alpha1",
        "kind": "Realm",
        "metadata": {"namespace": "demo", "name": name, "uid": name, "resourceVersion": "1", "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}},
        "spec": spec,
    }))
}

#[test]
fn no_world_before_every_list_is_finished_or_refused() {
    let namespaces = Namespaces::All;
    let cache = cache(&namespaces);
    let mut scopes = namespaces.scopes("nauthera-system");
    let last = scopes.pop().unwrap();
    for scope in scopes {
        cache.replace(&scope, BTreeMap::new());
    }
    assert_eq!(cache.world(), None);
    assert_eq!(cache.waiting_for(), ["Namespace"]);
    cache.refuse(&last, Unreadable::Forbidden);
    let world = cache.world().unwrap();
    let unreadable = world.cluster.unwrap().unreadable;
    assert_eq!(
        unreadable,
        BTreeMap::from([("Namespace".to_owned(), Unreadable::Forbidden)])
    );
}

#[test]
fn one_object_that_does_not_parse_leaves_the_others_alone() {
    let cache = complete(&Namespaces::All);
    let good = json!({"serverRef": {"name": "main"}, "issuer": "https://login.example"});
    cache.apply(Watched::Custom(crds::Kind::Realm), realm("good", &good));
    let bad = json!({"serverRef": {"name": "main"}, "issuer": 7});
    cache.apply(Watched::Custom(crds::Kind::Realm), realm("bad", &bad));
    let world = cache.world().unwrap();
    let good = &world.realms[&ObjectKey::new("demo", "good")];
    assert_eq!(good.metadata.generation, Some(3));
    assert_eq!(good.metadata.managed_fields, None);
    let annotations = good.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations.keys().collect::<Vec<_>>(), ["a"]);
    let reasons: Vec<String> = world
        .undecodable
        .iter()
        .map(|(id, why)| format!("{id}: {why}"))
        .collect();
    assert_eq!(
        reasons,
        ["Realm demo/bad: spec.issuer: must be of type string, not integer"]
    );
}

#[test]
fn a_status_of_another_release_says_nothing_against_an_object() {
    let cache = complete(&Namespaces::All);
    let mut object = realm(
        "a",
        &json!({"serverRef": {"name": "main"}, "issuer": "https://login.example"}),
    );
    object.data["status"] = json!({"conditions": "none", "novelty": 1});
    cache.apply(Watched::Custom(crds::Kind::Realm), object);
    assert_eq!(cache.world().unwrap().realms.len(), 1);
}

#[test]
fn what_was_noted_ahead_of_its_watch_is_no_news_when_the_watch_shows_it() {
    let cache = complete(&Namespaces::All);
    let secret = |version: &str, uid: &str| {
        let metadata = json!({"namespace": "demo", "name": "keys", "uid": uid, "resourceVersion": version});
        object(json!({"metadata": metadata, "data": {"version": BASE64.encode(version)}}))
    };
    let held = || {
        let world = cache.world().unwrap();
        let secret = world.secrets.values().next().unwrap();
        String::from_utf8(secret.data.get("version").unwrap().expose().clone()).unwrap()
    };
    let mut changes = cache.changes();
    let mut is_news = |version: &str, uid: &str| {
        changes.mark_unchanged();
        cache.apply(Watched::Child(ChildKind::Secret), secret(version, uid));
        changes.has_changed().unwrap()
    };
    assert!(is_news("6", "a"));
    assert!(!is_news("5", "a") && !is_news("6", "a"), "older, and the same");
    assert_eq!(held(), "6");
    assert!(is_news("7", "a") && is_news("2", "b"), "newer, and another object");
    assert_eq!(held(), "2");
}

#[test]
fn what_was_just_written_is_no_change_unless_somebody_edited_meanwhile() {
    let cache = complete(&Namespaces::All);
    let watched = Watched::Custom(crds::Kind::Realm);
    let realm = |version: &str, generation: i64| {
        let spec = json!({"serverRef": {"name": "main"}, "issuer": "https://login.example"});
        let mut realm = realm("a", &spec);
        realm.metadata.resource_version = Some(version.to_owned());
        realm.metadata.generation = Some(generation);
        realm
    };
    cache.apply(watched, realm("1", 3));
    let mut changes = cache.changes();
    let mut is_change = |note: &dyn Fn()| {
        changes.mark_unchanged();
        note();
        changes.has_changed().unwrap()
    };
    assert!(!is_change(&|| cache.note_status(crds::Kind::Realm, realm("2", 3))));
    assert!(!is_change(&|| cache.apply(watched, realm("2", 3))), "the echo");
    assert!(
        is_change(&|| cache.note_status(crds::Kind::Realm, realm("4", 4))),
        "the answer shows an edit that the watch has not shown"
    );
    assert!(!is_change(&|| cache.apply(watched, realm("3", 4))), "the edit, late");
    assert_eq!(
        cache
            .world()
            .unwrap()
            .realms
            .values()
            .next()
            .unwrap()
            .metadata
            .generation,
        Some(4)
    );
    let secret = json!({"metadata": {"namespace": "demo", "name": "s", "uid": "u", "resourceVersion": "5"}});
    assert!(!is_change(&|| cache.note_secret(object(secret.clone()))));
    assert!(
        cache
            .world()
            .unwrap()
            .secrets
            .contains_key(&ObjectKey::new("demo", "s"))
    );
}

#[test]
fn what_a_watch_shows_before_the_answer_to_a_write_is_no_change_of_somebody_else() {
    let cache = complete(&Namespaces::All);
    let watched = Watched::Child(ChildKind::Secret);
    let secret = |version: &str| {
        object(json!({"metadata": {"namespace": "demo", "name": "s", "uid": "u", "resourceVersion": version}}))
    };
    cache.take_changes();
    cache.apply(watched, secret("5"));
    cache.note_secret(secret("5"));
    assert!(!cache.take_changes(), "the watch was faster than the answer");
    cache.apply(watched, secret("6"));
    cache.apply(watched, secret("7"));
    cache.note_secret(secret("7"));
    assert!(cache.take_changes(), "somebody was there between two writes");
    cache.apply(watched, secret("8"));
    cache.note_secret(secret("9"));
    assert!(cache.take_changes(), "somebody was there before the write");
    cache.note_secret(secret("10"));
    cache.apply(watched, secret("10"));
    assert!(!cache.take_changes(), "the echo");
    cache.apply(watched, secret("11"));
    assert!(cache.take_changes() && !cache.take_changes(), "said once");
}

#[test]
fn a_list_replaces_what_its_namespace_held_and_nothing_else() {
    let namespaces = Namespaces::Only(vec!["demo".to_owned(), "other".to_owned()]);
    let cache = complete(&namespaces);
    let map = |namespace: &str, name: &str| {
        object(json!({"metadata": {"namespace": namespace, "name": name, "labels": {}}, "data": {"a": "b"}}))
    };
    let watched = Watched::Child(ChildKind::ConfigMap);
    for (namespace, name) in [("demo", "a"), ("demo", "b"), ("other", "c")] {
        cache.apply(watched, map(namespace, name));
    }
    let list = BTreeMap::from([cache.entry(watched, map("demo", "b")).unwrap()]);
    cache.replace(&(watched, Some("demo".to_owned())), list);
    let cluster = cache.world().unwrap().cluster.unwrap();
    let names: Vec<String> = cluster.children.keys().map(|id| id.key.to_string()).collect();
    assert_eq!(names, ["demo/b", "other/c"]);
    let child = cluster.children.values().next().unwrap();
    assert_eq!(
        (&child["kind"], &child["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
}

#[test]
fn what_is_refused_later_keeps_what_it_held() {
    let cache = complete(&Namespaces::All);
    let spec = json!({"serverRef": {"name": "main"}, "issuer": "https://login.example"});
    let watched = Watched::Custom(crds::Kind::Realm);
    cache.apply(watched, realm("a", &spec));
    cache.refuse(&(watched, None), Unreadable::NotInstalled);
    let world = cache.world().unwrap();
    assert_eq!(world.realms.len(), 1);
    assert_eq!(world.cluster.unwrap().unreadable["Realm"], Unreadable::NotInstalled);
}

#[test]
fn the_metadata_of_a_secret_is_kept_apart_from_its_content() {
    let cache = complete(&Namespaces::All);
    cache.note_secret(object(json!({
        "metadata": {"namespace": "demo", "name": "keys", "resourceVersion": "5"},
        "type": "Opaque", "data": {"a": "c2VjcmV0"},
    })));
    let world = cache.world().unwrap();
    let secret = &world.secrets[&ObjectKey::new("demo", "keys")];
    assert_eq!(secret.data.get("a").unwrap().expose(), b"secret");
    let cluster = world.cluster.unwrap();
    let metadata = cluster.secrets.values().next().unwrap();
    assert_eq!(metadata.version(), "5");
    assert!(cluster.children.is_empty());
}

#[test]
fn a_pod_is_ready_when_a_slice_of_its_service_says_so() {
    let cache = complete(&Namespaces::All);
    for (name, uid) in [("main-1", "u1"), ("main-2", "u2")] {
        let labels = json!({"app.kubernetes.io/instance": "main"});
        cache.apply(
            Watched::Pod,
            object(json!({"metadata": {"namespace": "demo", "name": name, "uid": uid, "labels": labels}})),
        );
    }
    let target = |uid: &str| json!({"kind": "Pod", "name": format!("pod-{uid}"), "uid": uid});
    cache.apply(
        Watched::EndpointSlice,
        object(json!({
            "metadata": {"namespace": "demo", "name": "main-x", "labels": {"kubernetes.io/service-name": "main"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": target("u1")},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "targetRef": target("u2")},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": true}, "targetRef": target("u3")},
            ],
        })),
    );
    let pods = cache.world().unwrap().cluster.unwrap().pods;
    let ready: Vec<(&str, bool)> = pods[&ObjectKey::new("demo", "main")]
        .values()
        .map(|pod| (pod.name.as_str(), pod.is_ready))
        .collect();
    assert_eq!(ready, [("main-1", true), ("main-2", false), ("pod-u3", true)]);
}

#[test]
fn secrets_that_objects_name_are_read_unless_a_watch_shows_them() {
    let cache = complete(&Namespaces::All);
    let client = |name: &str, secret: &Value| {
        object(json!({
            "apiVersion": "auth.nauthera.io/v1alpha1",
            "kind": "Client",
            "metadata": {"namespace": "shop", "name": name},
            "spec": {"realmRef": {"name": "demo"}, "type": "Confidential",
                "redirectUris": ["https://shop.example/cb"], "secret": secret},
        }))
    };
    let own = json!({"source": "Ref", "ref": {"name": "kept", "key": "password"}});
    cache.apply(Watched::Custom(crds::Kind::Client), client("a", &own));
    cache.apply(Watched::Custom(crds::Kind::Client), client("b", &json!({})));
    let name = |name: &str| ObjectKey::new("shop", name);
    cache.note_secret(object(
        json!({"metadata": {"namespace": "shop", "name": "b-oidc"}, "data": {}}),
    ));
    assert_eq!(cache.world().unwrap().undecodable, BTreeMap::new());
    let wanted = cache.state().named_secrets();
    assert_eq!(wanted, BTreeSet::from([name("a-oidc"), name("kept")]));
}

#[test]
fn that_a_kind_is_refused_is_news_once() {
    let cache = complete(&Namespaces::All);
    let scope = (Watched::Child(ChildKind::Certificate), None);
    let news = [
        Unreadable::NotInstalled,
        Unreadable::NotInstalled,
        Unreadable::Forbidden,
    ]
    .map(|refused| cache.refuse(&scope, refused));
    assert_eq!(news, [true, false, true]);
    cache.replace(&scope, BTreeMap::new());
    assert!(cache.refuse(&scope, Unreadable::Forbidden));
}

#[test]
fn objects_of_another_class_are_none_of_ours() {
    let cache = complete(&Namespaces::All);
    let server = |name: &str, class: &str| {
        object(json!({
            "apiVersion": "auth.nauthera.io/v1alpha1", "kind": "AuthServer",
            "metadata": {"namespace": "demo", "name": name, "uid": name, "resourceVersion": "1"},
            "spec": {"operatorClass": class, "database": {"postgres": {"secretRef": {"name": "db"}}}},
        }))
    };
    for (name, class) in [("ours", "default"), ("theirs", "other")] {
        cache.apply(Watched::Custom(crds::Kind::AuthServer), server(name, class));
        let spec = json!({"serverRef": {"name": name}, "issuer": format!("https://{name}.example")});
        cache.apply(Watched::Custom(crds::Kind::Realm), realm(&format!("of-{name}"), &spec));
    }
    let mut world = cache.world().unwrap();
    world.keep_class("default");
    let names = |keys: Vec<&ObjectKey>| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(world.auth_servers.keys().collect()), ["ours"]);
    assert_eq!(names(world.realms.keys().collect()), ["of-ours"]);
}

#[test]
fn it_is_known_of_each_object_how_it_went() {
    let cache = complete(&Namespaces::All);
    let spec = json!({"serverRef": {"name": "main"}, "issuer": "https://login.example"});
    let watched = Watched::Custom(crds::Kind::Realm);
    let scope = (watched, None);
    for name in ["deleted", "swept", "unseen", "missed"] {
        cache.apply(watched, realm(name, &spec));
    }
    let key = |name: &str| ObjectKey::new("demo", name);
    cache.remove(watched, &key("deleted"), End::Deleted);
    cache.remove(watched, &key("swept"), End::Swept);
    // A list after a gap lacks one.
    let kept = cache.entry(watched, realm("missed", &spec));
    cache.replace(&scope, kept.into_iter().collect());
    // Another one goes while its kind is not installed.
    cache.refuse(&scope, Unreadable::NotInstalled);
    assert_eq!(cache.world().unwrap().realms.len(), 1);
    cache.replace(&scope, BTreeMap::new());
    let cluster = cache.world().unwrap().cluster.unwrap();
    let names = |ids: &BTreeSet<ObjectId>| ids.iter().map(|id| id.key.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&cluster.deleted), ["deleted"]);
    assert_eq!(names(&cluster.swept), ["missed", "swept"]);
}

#[test]
fn a_spec_is_judged_anew_when_its_generation_moves() {
    let cache = complete(&Namespaces::All);
    let watched = Watched::Custom(crds::Kind::Realm);
    let spec = json!({"serverRef": {"name": "main"}, "issuer": "https://login.example"});
    cache.apply(watched, realm("a", &spec));
    let shown = || {
        let world = cache.world().unwrap();
        let realm = world.realms.values().next().cloned();
        let status = realm.and_then(|realm| realm.status.as_ref()?.realm_id.clone());
        (status, world.undecodable.len())
    };
    let mut later = realm("a", &spec);
    later.metadata.resource_version = Some("2".to_owned());
    later.data["status"] = json!({"realmId": "r"});
    cache.apply(watched, later.clone());
    assert_eq!(shown(), (Some("r".to_owned()), 0));
    later.metadata.resource_version = Some("3".to_owned());
    later.metadata.generation = Some(4);
    later.data["spec"]["issuer"] = json!(7);
    cache.apply(watched, later.clone());
    assert_eq!(shown(), (None, 1));
    // Whatever was no good is judged each time.
    later.metadata.resource_version = Some("4".to_owned());
    later.data["spec"] = spec.clone();
    cache.apply(watched, later);
    assert_eq!(shown(), (Some("r".to_owned()), 0));
}
