//! The charts on a whole cluster: `helm --wait` is enough, in a namespace that takes restricted pods only, and taking
//! them away leaves what people declared.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, Mode};
use e2e::parts::checkout;
use serde_json::Value;

use super::{NAMESPACE, helm, namespaces};

/// Something that people declared.
const FLEET: &str = "
apiVersion: auth.nauthera.io/v1alpha1
kind: AuthServer
metadata: {name: login, namespace: identity, annotations: {auth.nauthera.io/paused: 'true'}}
spec:
  database: {embedded: {}}
";

async fn started() -> Result<Cluster> {
    let cluster = Cluster::start(Mode::Node).await?;
    cluster.load_image(&checkout().join("target/images/nauthera-operator.tar"))?;
    cluster.apply(&namespaces(&[NAMESPACE, "identity"])).await?;
    Ok(cluster)
}

/// Runs helm on this cluster, in the operator's namespace.
fn helm_on(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    helm(&[arguments, &["--namespace", NAMESPACE, "--kubeconfig", &kubeconfig]].concat())
}

fn install(cluster: &Cluster, values: &[&str]) -> Result<String> {
    let arguments = [
        "upgrade",
        "--install",
        "nauthera",
        "charts/nauthera",
        "--wait",
        "--timeout=120s",
    ];
    helm_on(cluster, &[&arguments[..], values].concat())
}

/// The names of the operator's pods that are ready, after checking that none restarted.
async fn ready_pods(cluster: &Cluster) -> Result<Vec<String>> {
    let pods = cluster.json(&["get", "pods", "--namespace", NAMESPACE]).await?;
    let mut names = Vec::new();
    for pod in pods.pointer("/items").and_then(Value::as_array).into_iter().flatten() {
        let container = |field: &str| pod.pointer(&format!("/status/containerStatuses/0/{field}"));
        let is_leaving = pod.pointer("/metadata/deletionTimestamp").is_some();
        if is_leaving || container("ready") != Some(&Value::Bool(true)) {
            continue;
        }
        ensure!(container("restartCount") == Some(&Value::from(0)), "{pod}");
        let name = pod.pointer("/metadata/name").and_then(Value::as_str);
        names.extend(name.map(str::to_owned));
    }
    Ok(names)
}

#[tokio::test]
async fn the_operator_gets_ready_in_both_modes_and_leaves_what_people_declared() {
    let cluster = started().await.unwrap();
    let crds = [
        "upgrade",
        "--install",
        "nauthera-crds",
        "charts/nauthera-crds",
        "--wait",
        "--timeout=60s",
    ];
    helm_on(&cluster, &crds).unwrap();
    cluster.apply(FLEET).await.unwrap();

    // The whole cluster, then one namespace without a ClusterRole: a change of one release.
    let said = install(&cluster, &[]).unwrap();
    assert!(said.contains("looks after every namespace"), "{said}");
    let everywhere = ready_pods(&cluster).await.unwrap();
    assert_eq!(everywhere.len(), 2);
    let said = install(&cluster, &["--set", "watchNamespaces={identity}"]).unwrap();
    assert!(said.contains("looks after the namespace identity."), "{said}");
    let single = ready_pods(&cluster).await.unwrap();
    assert!(single.iter().all(|pod| !everywhere.contains(pod)), "{single:?}");
    let roles = cluster
        .kubectl(&["get", "clusterroles,clusterrolebindings", "-o=name"])
        .await
        .unwrap();
    assert!(!roles.contains("nauthera-operator"), "{roles}");

    helm_on(&cluster, &["uninstall", "nauthera", "--wait", "--timeout=60s"]).unwrap();
    helm_on(&cluster, &["uninstall", "nauthera-crds"]).unwrap();
    let pods = ["get", "pods", "--namespace", NAMESPACE];
    let none = |pods: &Value| pods["items"].as_array().is_some_and(Vec::is_empty).then_some(());
    cluster.until(&pods, Duration::from_mins(1), none).await.unwrap();
    let fleet = cluster
        .json(&["get", "authserver", "login", "--namespace=identity"])
        .await
        .unwrap();
    assert!(fleet["metadata"]["deletionTimestamp"].is_null(), "{fleet}");
    // And what stayed is taken over by the next installation.
    helm_on(&cluster, &crds).unwrap();
}
