//! `nauthera-operator run` against a real API server, under the rights that its chart grants: what it makes of custom
//! resources, who leads, and what one bad object or one missing right may not spoil.

mod definitions;
mod orders;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, Mode, kubectl};
use e2e::image::Image;
use e2e::parts::{checkout, free_port, http_client, product, program};
use e2e::process::Process;
use e2e::scenario;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the operator is installed.
const NAMESPACE: &str = "nauthera-system";

/// For what takes a moment on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A control plane with the definitions and the rights of the operator.
pub(crate) async fn prepared() -> Result<Cluster> {
    let cluster = Cluster::start(Mode::ControlPlane).await?;
    for file in ["authservers", "realms", "clients"] {
        let manifest = checkout().join(format!("crds/manifests/auth.nauthera.io_{file}.yaml"));
        cluster.apply(&std::fs::read_to_string(manifest)?).await?;
    }
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
    cluster.kubectl(&established).await?;
    cluster.kubectl(&["create", "namespace", NAMESPACE]).await?;
    cluster.apply(&rights()?).await?;
    Ok(cluster)
}

/// What the chart grants.
fn rights() -> Result<String> {
    let output = Command::new(program("NAUTHERA_HELM")?)
        .args(["template", "nauthera", "charts/nauthera", "--namespace", NAMESPACE])
        .args(["--show-only", "templates/rbac.yaml"])
        .current_dir(checkout())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A running operator.
pub(crate) struct Operator {
    pub(crate) process: Process,
    http: u16,
    _folder: TempDir,
}

impl Operator {
    async fn start(cluster: &Cluster, name: &str) -> Result<Self> {
        Self::spawn(cluster, name, Command::new(product("nauthera-operator")?)).await
    }

    /// Starts the program of an image in its environment.
    pub(crate) async fn start_image(cluster: &Cluster, name: &str, image: &Image) -> Result<Self> {
        let mut command = Command::new(image.root().join("usr/bin/nauthera-operator"));
        command.envs(image.environment());
        Self::spawn(cluster, name, command).await
    }

    async fn spawn(cluster: &Cluster, name: &str, mut command: Command) -> Result<Self> {
        let kubeconfig = cluster
            .kubeconfig_of_service_account(NAMESPACE, "nauthera-operator")
            .await?;
        let folder = tempfile::tempdir()?;
        let http = free_port()?;
        command
            .arg("run")
            .args(["--listen-config", "127.0.0.1:0"])
            .args(["--listen-http", &format!("127.0.0.1:{http}")])
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAMESPACE", NAMESPACE)
            .env("POD_NAME", name);
        let process = Process::spawn(name, &command, &folder.path().join("log"))?;
        Ok(Self {
            process,
            http,
            _folder: folder,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = http_client()?
            .get(format!("http://127.0.0.1:{}{path}", self.http))
            .send()
            .await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    pub(crate) async fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.process.expect_running()?;
            let answer = self.get("/readyz").await;
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{answer:?}\n{}", self.process.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) fn samples() -> PathBuf {
    checkout().join("config/samples")
}

async fn apply_samples(cluster: &Cluster) -> Result<()> {
    let folder = samples().display().to_string();
    cluster
        .kubectl(&["apply", "--server-side", "-f", &folder])
        .await
        .map(|_| ())
}

/// The condition of that type.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// Waits until the object says this about being ready.
async fn until_reason(cluster: &Cluster, object: &str, reason: &str) -> Result<()> {
    let says = |found: &Value| (condition(found, "Ready")?["reason"] == reason).then_some(());
    cluster.until(&["get", object], PATIENCE, says).await
}

async fn leader(cluster: &Cluster) -> Result<String> {
    let lease = ["-n", NAMESPACE, "get", "lease", "nauthera-operator"];
    let holder = |lease: &Value| {
        let holder = lease.pointer("/spec/holderIdentity")?.as_str()?;
        let (pod, _) = holder.split_once('_')?;
        Some(pod.to_owned())
    };
    cluster.until(&lease, PATIENCE, holder).await
}

async fn until_leader(cluster: &Cluster, name: &str) -> Result<()> {
    let lease = ["-n", NAMESPACE, "get", "lease", "nauthera-operator"];
    let is_held = |lease: &Value| {
        let holder = lease.pointer("/spec/holderIdentity")?.as_str()?;
        holder.starts_with(&format!("{name}_")).then_some(())
    };
    cluster.until(&lease, PATIENCE, is_held).await
}

async fn relabel(cluster: &Cluster, client: &str, name: &str) -> Result<()> {
    let patch = json!({"spec": {"displayName": name}}).to_string();
    cluster
        .kubectl(&["patch", "client.auth.nauthera.io", client, "--type=merge", "-p", &patch])
        .await?;
    Ok(())
}

/// Waits until what is committed for the object is of its newest generation.
async fn until_generation_is_judged(cluster: &Cluster, client: &str) -> Result<()> {
    let judged = |found: &Value| {
        let generation = found.pointer("/metadata/generation")?;
        (condition(found, "Ready")?.get("observedGeneration")? == generation).then_some(())
    };
    cluster
        .until(&["get", "client.auth.nauthera.io", client], PATIENCE, judged)
        .await
}

#[tokio::test]
async fn custom_resources_become_children_secrets_and_status_under_the_rights_of_the_chart() {
    let cluster = prepared().await.unwrap();
    let mut operator = Operator::start(&cluster, "a").await.unwrap();
    operator.until_ready().await.unwrap();
    apply_samples(&cluster).await.unwrap();
    for object in ["client.auth.nauthera.io/shop", "realm.auth.nauthera.io/acme"] {
        until_reason(&cluster, object, "NoReadyReplicas").await.unwrap();
    }
    until_reason(&cluster, "authserver.auth.nauthera.io/demo", "Deploying")
        .await
        .unwrap();
    for child in [
        "deployment/demo",
        "service/demo",
        "serviceaccount/demo",
        "secret/demo-config",
        "secret/shop-oidc",
    ] {
        cluster.json(&["get", child]).await.unwrap();
    }
    // Deleted by hand it comes back, also one with nothing generated in it.
    let spa = ["get", "secret/spa-oidc"];
    let former = cluster.json(&spa).await.unwrap();
    cluster.kubectl(&["delete", "secret/spa-oidc"]).await.unwrap();
    let is_new = |found: &Value| (found["metadata"]["uid"] != former["metadata"]["uid"]).then_some(());
    cluster.until(&spa, PATIENCE, is_new).await.unwrap();
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(metrics.contains("nauthera_operator_leading 1"), "{metrics}");
    assert!(
        metrics.contains("nauthera_operator_objects{kind=\"Client\"} 3"),
        "{metrics}"
    );
    let log = operator.process.output();
    assert!(!log.contains("orbidden"), "{log}");
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
}

#[tokio::test]
async fn a_frozen_leader_is_replaced_and_does_not_lead_when_it_wakes() {
    let cluster = prepared().await.unwrap();
    let mut first = Operator::start(&cluster, "first").await.unwrap();
    first.until_ready().await.unwrap();
    until_leader(&cluster, "first").await.unwrap();
    let mut second = Operator::start(&cluster, "second").await.unwrap();
    second.until_ready().await.unwrap();
    apply_samples(&cluster).await.unwrap();
    until_reason(&cluster, "client.auth.nauthera.io/shop", "NoReadyReplicas")
        .await
        .unwrap();
    first.process.signal(Signal::STOP).unwrap();
    let frozen = Instant::now();
    relabel(&cluster, "shop", "While nobody leads").await.unwrap();
    until_leader(&cluster, "second").await.unwrap();
    until_generation_is_judged(&cluster, "shop").await.unwrap();
    let recovered = frozen.elapsed();
    first.process.signal(Signal::CONT).unwrap();
    relabel(&cluster, "shop", "While two are awake").await.unwrap();
    until_generation_is_judged(&cluster, "shop").await.unwrap();
    let (_, metrics) = first.get("/metrics").await.unwrap();
    assert!(metrics.contains("nauthera_operator_leading 0"), "{metrics}");
    assert_eq!(leader(&cluster).await.unwrap(), "second");
    scenario("operator leader frozen (SIGSTOP) and woken again")
        .observed("the other replica led and judged an edit; the woken one wrote nothing")
        .recovered_in(recovered)
        .unwrap();
    let stopping = Instant::now();
    let status = second.process.stop(Duration::from_secs(10)).unwrap();
    assert!(status.success(), "{status}\n{}", second.process.output());
    until_leader(&cluster, "first").await.unwrap();
    let handed_over = stopping.elapsed();
    assert!(
        handed_over < Duration::from_secs(8),
        "given up, not expired: {handed_over:?}"
    );
}

#[tokio::test]
async fn one_undecodable_object_keeps_no_other_from_being_served() {
    let cluster = prepared().await.unwrap();
    let open = json!([{
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }]);
    let patch = [
        "patch",
        "crd",
        "realms.auth.nauthera.io",
        "--type=json",
        "-p",
        &open.to_string(),
    ];
    cluster.kubectl(&patch).await.unwrap();
    let bad = json!({
        "apiVersion": "auth.nauthera.io/v1alpha1", "kind": "Realm",
        "metadata": {"namespace": "default", "name": "bad"},
        "spec": {"serverRef": {"name": "demo"}, "issuer": 7},
    });
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = cluster.apply(&bad.to_string()).await {
        assert!(Instant::now() < deadline, "the definition is not open: {error:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    apply_samples(&cluster).await.unwrap();
    let mut operator = Operator::start(&cluster, "a").await.unwrap();
    operator.until_ready().await.unwrap();
    for object in ["client.auth.nauthera.io/shop", "realm.auth.nauthera.io/acme"] {
        until_reason(&cluster, object, "NoReadyReplicas").await.unwrap();
    }
    until_reason(&cluster, "realm.auth.nauthera.io/bad", "Undecodable")
        .await
        .unwrap();
    scenario("one undecodable Realm among good ones")
        .observed("it is reported on itself; the others are committed")
        .nothing_to_recover()
        .unwrap();
}

#[tokio::test]
async fn a_kind_that_may_not_be_listed_spoils_nothing_else_and_heals() {
    let cluster = prepared().await.unwrap();
    let role = format!("clusterrole/nauthera-operator:{NAMESPACE}");
    let mut reduced = cluster.json(&["get", &role]).await.unwrap();
    let rules = reduced["rules"].as_array_mut().unwrap();
    for rule in rules.iter_mut() {
        let resources = rule["resources"].as_array_mut().unwrap();
        resources.retain(|resource| resource != "ingresses");
    }
    let full = rights().unwrap();
    let patch = json!({"rules": reduced["rules"]}).to_string();
    cluster
        .kubectl(&["patch", &role, "--type=merge", "-p", &patch])
        .await
        .unwrap();
    let mut operator = Operator::start(&cluster, "a").await.unwrap();
    operator.until_ready().await.unwrap();
    apply_samples(&cluster).await.unwrap();
    until_reason(&cluster, "client.auth.nauthera.io/shop", "NoReadyReplicas")
        .await
        .unwrap();
    let log = operator.process.output();
    assert!(
        log.contains("\"kind\":\"Ingress\"") && log.contains("Forbidden"),
        "{log}"
    );
    kubectl(
        &cluster.kubeconfig(),
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &full,
    )
    .await
    .unwrap();
    let granted = Instant::now();
    let deadline = granted + PATIENCE;
    while !operator.process.output().contains("can be read again") {
        assert!(Instant::now() < deadline, "{}", operator.process.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scenario("no right to list Ingresses, granted later")
        .observed("everything else was made; the kind is read once the right is there")
        .recovered_in(granted.elapsed())
        .unwrap();
}
