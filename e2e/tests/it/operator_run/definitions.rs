//! A definition that is removed takes its objects along, but not what is served.

use std::time::{Duration, Instant};

use e2e::cluster::Cluster;
use e2e::parts::checkout;
use e2e::scenario;
use serde_json::Value;

use super::{Operator, PATIENCE, apply_samples, condition, prepared, until_reason};

const SERVER: &str = "authserver.auth.nauthera.io/demo";

/// What the AuthServer says: how many Realms and Clients are served, and why it is degraded.
async fn served(cluster: &Cluster) -> (i64, i64, String) {
    let server = cluster.json(&["get", SERVER]).await.unwrap();
    let count = |field: &str| server["status"][field].as_i64().unwrap_or_default();
    let degraded = condition(&server, "Degraded").filter(|degraded| degraded["status"] == "True");
    let reason = degraded
        .and_then(|degraded| degraded["reason"].as_str())
        .unwrap_or_default();
    (count("realms"), count("clients"), reason.to_owned())
}

async fn until_served(cluster: &Cluster, operator: &Operator, wanted: (i64, i64, &str)) -> Duration {
    let began = Instant::now();
    loop {
        let (realms, clients, degraded) = served(cluster).await;
        if (realms, clients, degraded.as_str()) == wanted {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < PATIENCE * 2,
            "{realms} {clients} {degraded}, not {wanted:?}\n{}",
            operator.process.output()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_definition_removed_by_mistake_takes_nothing_from_what_is_served() {
    let cluster = prepared().await.unwrap();
    let mut operator = Operator::start(&cluster, "a").await.unwrap();
    operator.until_ready().await.unwrap();
    apply_samples(&cluster).await.unwrap();
    let client = "client.auth.nauthera.io/shop";
    until_reason(&cluster, client, "NoReadyReplicas").await.unwrap();
    let (realms, clients, _) = served(&cluster).await;
    assert!(realms > 0 && clients > 0);

    // A person deletes one Client: that is meant.
    cluster.kubectl(&["delete", client]).await.unwrap();
    until_served(&cluster, &operator, (realms, clients - 1, "")).await;
    apply_samples(&cluster).await.unwrap();
    until_served(&cluster, &operator, (realms, clients, "")).await;

    for kind in ["clients", "realms"] {
        let definition = format!("crd/{kind}.auth.nauthera.io");
        cluster
            .kubectl(&["delete", &definition, "--timeout=60s"])
            .await
            .unwrap();
        // Held as loss, then frozen, because nothing can be listed.
        until_served(&cluster, &operator, (realms, clients, "Forbidden")).await;

        let manifest = checkout().join(format!("crds/manifests/auth.nauthera.io_{kind}.yaml"));
        cluster
            .apply(&std::fs::read_to_string(manifest).unwrap())
            .await
            .unwrap();
        let established = ["wait", "--for=condition=Established", &definition, "--timeout=30s"];
        cluster.kubectl(&established).await.unwrap();
        // Nobody has applied the objects again.
        until_served(&cluster, &operator, (realms, clients, "ShrinkHeld")).await;

        let applied = Instant::now();
        while let Err(error) = apply_samples(&cluster).await {
            assert!(applied.elapsed() < PATIENCE, "{error:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        until_served(&cluster, &operator, (realms, clients, "")).await;
    }
    let generation = |server: &Value| server.pointer("/status/configuration/generation").cloned();
    let server = cluster.json(&["get", SERVER]).await.unwrap();
    let log = operator.process.output();
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
    scenario("definitions of Client and Realm deleted and installed again")
        .observed(format!(
            "{realms} Realms and {clients} Clients stay committed, as held and as frozen, until their objects are back \
             (generation {:?})",
            generation(&server)
        ))
        .nothing_to_recover()
        .unwrap();
}
