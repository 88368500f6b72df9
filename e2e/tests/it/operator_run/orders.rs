//! The order in which manifests arrive does not matter: all of them are tried, each in a namespace of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::cluster::Cluster;
use e2e::scenario;
use serde_json::{Value, json};

use super::{Operator, PATIENCE, condition, prepared};

const KINDS: [&str; 4] = ["AuthServer", "Realm", "Client", "Secret"];

fn orders() -> Vec<[&'static str; 4]> {
    let mut orders = Vec::new();
    for first in KINDS {
        for second in KINDS {
            for third in KINDS {
                let fourth = KINDS.iter().find(|kind| ![first, second, third].contains(kind));
                if let (Some(fourth), true) = (fourth, first != second && second != third && first != third) {
                    orders.push([first, second, third, *fourth]);
                }
            }
        }
    }
    orders
}

fn namespace(number: usize) -> String {
    format!("order-{number:02}")
}

fn list(items: impl Iterator<Item = Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()}).to_string()
}

/// The object of that kind: the Secret is needed by the AuthServer and by the Client.
fn object(kind: &str, namespace: &str) -> Value {
    let (name, spec) = match kind {
        "AuthServer" => (
            "main",
            json!({"database": {"postgres": {"secretRef": {"name": "given"}}}, "exposure": {"none": {}}}),
        ),
        "Realm" => (
            "people",
            json!({"serverRef": {"name": "main"}, "issuer": format!("https://{namespace}.example.com")}),
        ),
        "Client" => (
            "web",
            json!({
                "realmRef": {"name": "people"},
                "type": "Confidential",
                "redirectUris": ["https://app.example.com/callback"],
                "secret": {"source": "Ref", "ref": {"name": "given", "key": "secret"}},
            }),
        ),
        _ => {
            return json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "given", "namespace": namespace},
                "stringData": {"uri": "postgres://u:p@db/d", "secret": "a-Secret-that-only-Tests-use-0123456789"}});
        }
    };
    json!({"apiVersion": "auth.nauthera.io/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

async fn all(cluster: &Cluster, kinds: &str) -> Result<Vec<Value>> {
    let found = cluster.json(&["get", kinds, "--all-namespaces"]).await?;
    Ok(found
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default())
}

fn text(object: &Value, path: &str) -> String {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// What is said about each kind of custom resource in a namespace.
type Said = BTreeMap<String, Vec<String>>;

/// What is said in each namespace, without what differs by its name.
async fn said(cluster: &Cluster) -> Result<BTreeMap<String, Said>> {
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    for object in all(cluster, "nas,nrealm,ncl").await? {
        let namespace = text(&object, "/metadata/namespace");
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned();
        let conditions = conditions.unwrap_or_default().into_iter().map(|one| {
            let words = ["/type", "/status", "/reason", "/message"].map(|path| text(&one, path));
            words.join(" ").replace(&namespace, "NAMESPACE")
        });
        let count = |field| object.pointer(&format!("/status/{field}")).and_then(Value::as_i64);
        let counts = ["realms", "clients"].map(|field| format!("{field}={:?}", count(field)));
        let lines = conditions.chain(counts).collect();
        said.entry(namespace.clone())
            .or_default()
            .insert(text(&object, "/kind"), lines);
    }
    Ok(said)
}

/// Waits until something was said about every custom resource that is there.
async fn until_judged(cluster: &Cluster, count: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        let objects = all(cluster, "nas,nrealm,ncl").await?;
        let judged = objects.iter().filter(|object| condition(object, "Ready").is_some());
        let judged = judged.count();
        if judged == count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{judged} of {count} are judged");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn manifests_end_the_same_in_each_of_their_24_orders() {
    let cluster = prepared().await.unwrap();
    let mut operator = Operator::start(&cluster, "a").await.unwrap();
    operator.until_ready().await.unwrap();
    let orders = orders();
    assert_eq!(orders.len(), 24);
    let namespaces = (0..orders.len())
        .map(|number| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}}));
    cluster.apply(&list(namespaces)).await.unwrap();
    let mut custom = 0;
    for step in 0..KINDS.len() {
        let kinds = orders.iter().map(|order| order[step]);
        custom += kinds.clone().filter(|kind| *kind != "Secret").count();
        let objects = kinds.enumerate().map(|(number, kind)| object(kind, &namespace(number)));
        cluster.apply(&list(objects)).await.unwrap();
        // The operator has acted on what is there before the next one arrives.
        until_judged(&cluster, custom).await.unwrap();
    }
    let complete = Instant::now();
    let is_done = |said: &Said| {
        let has = |kind: &str, text: &str| said[kind].iter().any(|line| line.contains(text));
        let counted = has("AuthServer", "realms=Some(1)") && has("AuthServer", "clients=Some(1)");
        let waiting = |kind| has(kind, "Programmed False NoReadyReplicas");
        counted && waiting("Realm") && waiting("Client")
    };
    let said = loop {
        let said = said(&cluster).await.unwrap();
        let differs = said.values().any(|one| Some(one) != said.values().next());
        if !differs && said.values().all(is_done) {
            break said;
        }
        assert!(
            complete.elapsed() < PATIENCE * 2,
            "{said:#?}\n{}",
            operator.process.output()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(said.len(), 24);
    let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let kinds = "secrets,configmaps,serviceaccounts,services,jobs,deployments";
    for child in all(&cluster, kinds).await.unwrap() {
        let (namespace, name) = (text(&child, "/metadata/namespace"), text(&child, "/metadata/name"));
        // Keys and shards are named by the issuer, which is the namespace's.
        let cut = ["-realm-", "-config-"].iter().find_map(|part| name.split_once(part));
        let name = cut.map_or(&*name, |(name, _)| name);
        children
            .entry(namespace)
            .or_default()
            .insert(format!("{} {name}", text(&child, "/kind")));
    }
    let of_orders: Vec<_> = children.iter().filter(|(name, _)| name.starts_with("order-")).collect();
    assert_eq!(of_orders.len(), 24);
    for (namespace, names) in &of_orders {
        assert_eq!(*names, of_orders[0].1, "children in {namespace}");
    }
    scenario("AuthServer, Realm, Client and Secret in each of their 24 orders")
        .observed(format!(
            "the same statuses and the same {} children in every namespace",
            of_orders[0].1.len()
        ))
        .recovered_in(complete.elapsed())
        .unwrap();
}
