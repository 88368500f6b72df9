//! A definition that is removed takes its objects along, but not what is served.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::cluster::Cluster;
use e2e::parts::checkout;
use e2e::scenario;
use serde_json::Value;

use super::{Operator, PATIENCE, apply_samples, condition, prepared, until_reason};

const SERVER: &str = "authserver.auth.nauthera.io/demo";

/// What the AuthServer says: how many Realms and Clients are served, and why it is degraded.
async fn served(cluster: &Cluster) -> Result<(i64, i64, String)> {
    let server = cluster.json(&["get", SERVER]).await?;
    let count = |field: &str| server.pointer(field).and_then(Value::as_i64).unwrap_or_default();
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let degraded =
        condition(&server, "Degraded").filter(|degraded| text(degraded, "status").as_deref() == Some("True"));
    let reason = degraded
        .and_then(|degraded| text(degraded, "reason"))
        .unwrap_or_default();
    Ok((count("/status/realms"), count("/status/clients"), reason))
}

async fn until_served(cluster: &Cluster, operator: &Operator, wanted: (i64, i64, &str)) -> Result<()> {
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        let (realms, clients, degraded) = served(cluster).await?;
        if (realms, clients, degraded.as_str()) == wanted {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
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
    let (realms, clients, _) = served(&cluster).await.unwrap();
    assert!(realms > 0 && clients > 0);

    // A person deletes one Client: that is meant.
    cluster.kubectl(&["delete", client]).await.unwrap();
    until_served(&cluster, &operator, (realms, clients - 1, ""))
        .await
        .unwrap();
    apply_samples(&cluster).await.unwrap();
    until_served(&cluster, &operator, (realms, clients, "")).await.unwrap();

    for kind in ["clients", "realms"] {
        let definition = format!("crd/{kind}.auth.nauthera.io");
        cluster
            .kubectl(&["delete", &definition, "--timeout=60s"])
            .await
            .unwrap();
        // Held as loss, then frozen, because nothing can be listed.
        until_served(&cluster, &operator, (realms, clients, "Forbidden"))
            .await
            .unwrap();

        let manifest = checkout().join(format!("crds/manifests/auth.nauthera.io_{kind}.yaml"));
        cluster
            .apply(&std::fs::read_to_string(manifest).unwrap())
            .await
            .unwrap();
        let established = ["wait", "--for=condition=Established", &definition, "--timeout=30s"];
        cluster.kubectl(&established).await.unwrap();
        // Nobody has applied the objects again.
        until_served(&cluster, &operator, (realms, clients, "ShrinkHeld"))
            .await
            .unwrap();

        let applied = Instant::now();
        while let Err(error) = apply_samples(&cluster).await {
            assert!(applied.elapsed() < PATIENCE, "{error:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        until_served(&cluster, &operator, (realms, clients, "")).await.unwrap();
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
