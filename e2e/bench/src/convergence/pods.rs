//! The servers of the stage: processes with what a node gives to pods.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use snapshot::Manifest;

use super::stage::{FLEET_LABEL, Stage};
use crate::growth::number;
use crate::pinned::Cpus;
use crate::server::{self, Server, ServerPlan};

/// For the operator to see a pod, or a server to connect.
const PATIENCE: Duration = Duration::from_mins(2);

/// Name and UID of a pod.
struct Pod {
    name: String,
    uid: String,
}

/// Starts so many servers, tells the operator that they are ready, and waits until each is connected.
pub(super) async fn start(stage: &mut Stage, count: usize, cpus: &Cpus) -> Result<Vec<Server>> {
    let folder = stage.folder().to_owned();
    let config_dir = mount(stage, &folder).await?;
    let peer_dir = peer(stage, &folder).await?;
    let pods = pods(stage, count).await?;
    let tokens = tokens(stage, &pods).await?;
    let template = folder.join("template");
    fs::create_dir(&template)?;
    server::sqlite(&template)?;
    let mut servers = Vec::new();
    for (pod, token) in pods.iter().zip(tokens) {
        let own = folder.join(&pod.name);
        fs::create_dir(&own)?;
        // Each has a database of its own: none of them sends it anything here.
        for entry in fs::read_dir(&template)? {
            let entry = entry?;
            fs::copy(entry.path(), own.join(entry.file_name()))?;
        }
        fs::write(own.join("token"), token)?;
        servers.push(Server::start(&ServerPlan {
            config_dir: config_dir.clone(),
            database_url: format!("sqlite://{}", own.join("bench.sqlite").display()),
            database_pool: 1,
            cpus: cpus.clone(),
            log: own.join("log"),
            more: vec![
                format!("--operator-address=127.0.0.1:{}", stage.config_port()),
                format!("--peer-dir={}", peer_dir.display()),
                format!("--token-file={}", own.join("token").display()),
            ],
        })?);
    }
    ready(stage, &pods).await?;
    let label = format!("fleet=\"{FLEET_LABEL}\"");
    let all = number(count as u64);
    stage
        .until("every server connected", PATIENCE, async |stage| {
            Ok(stage.metric("nauthera_operator_connected_servers", &label)? >= all)
        })
        .await?;
    Ok(servers)
}

/// The committed configuration as a folder of files, as a projected volume has it.
async fn mount(stage: &Stage, folder: &Path) -> Result<PathBuf> {
    let list = stage
        .get("/api/v1/namespaces/bench/secrets")
        .await?
        .context("no Secrets")?;
    let items = list
        .get("items")
        .and_then(Value::as_array)
        .context("a list without items")?;
    let target = folder.join("config");
    fs::create_dir(&target)?;
    for item in items {
        let name = item
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if name == "main-config" || name.starts_with("main-config-") {
            write(item, &target)?;
        }
    }
    ensure!(target.join(snapshot::MANIFEST_FILE).is_file(), "nothing is committed");
    Ok(target)
}

/// What servers show to the operator, and trust.
async fn peer(stage: &Stage, folder: &Path) -> Result<PathBuf> {
    let secret = stage.get("/api/v1/namespaces/bench/secrets/main-peer").await?;
    let target = folder.join("peer");
    fs::create_dir(&target)?;
    write(&secret.context("no Secret main-peer")?, &target)?;
    Ok(target)
}

/// The manifest in its Secret.
pub(super) fn manifest(secret: &Value) -> Result<Manifest> {
    let data = secret.get("data").and_then(|data| data.get(snapshot::MANIFEST_FILE));
    let text = data.and_then(Value::as_str).context("a Secret without a manifest")?;
    Ok(Manifest::decode(&STANDARD.decode(text)?)?)
}

fn write(secret: &Value, folder: &Path) -> Result<()> {
    let data: BTreeMap<String, String> = serde_json::from_value(secret.get("data").cloned().unwrap_or_default())?;
    for (name, value) in data {
        fs::write(folder.join(name), STANDARD.decode(value)?)?;
    }
    Ok(())
}

async fn pods(stage: &Stage, count: usize) -> Result<Vec<Pod>> {
    let pod = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("main-{number}"),
                "labels": {
                    "app.kubernetes.io/name": "nauthera", "app.kubernetes.io/component": "auth-server",
                    "app.kubernetes.io/instance": "main", "app.kubernetes.io/managed-by": "nauthera-operator",
                },
            },
            "spec": {
                "serviceAccountName": "main", "automountServiceAccountToken": false,
                "containers": [{"name": "auth-server", "image": "localhost/nauthera-auth:dev"}],
            },
        })
    };
    let created = stage
        .post("/api/v1/namespaces/bench/pods", (0..count).map(pod).collect())
        .await?;
    let known = |pod: &Value| {
        let text = |name: &str| pod.pointer(&format!("/metadata/{name}")).and_then(Value::as_str);
        Some(Pod {
            name: text("name")?.to_owned(),
            uid: text("uid")?.to_owned(),
        })
    };
    created
        .iter()
        .map(|pod| known(pod).context("a pod without a UID"))
        .collect()
}

/// Tokens bound to the pods, from the API server.
async fn tokens(stage: &Stage, pods: &[Pod]) -> Result<Vec<String>> {
    let request = |pod: &Pod| {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": ["nauthera-operator"], "expirationSeconds": 7200,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid},
            },
        });
        ("/api/v1/namespaces/bench/serviceaccounts/main/token".to_owned(), body)
    };
    let answers = stage.post_each(pods.iter().map(request).collect()).await?;
    let token = |answer: &Value| Some(answer.pointer("/status/token")?.as_str()?.to_owned());
    answers.iter().map(|answer| token(answer).context("no token")).collect()
}

/// Says of all pods that people are sent to them, as the controller of EndpointSlices would.
async fn ready(stage: &Stage, pods: &[Pod]) -> Result<()> {
    let endpoint = |(number, pod): (usize, &Pod)| {
        json!({
            "addresses": [format!("10.9.0.{}", number + 1)], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "bench", "name": pod.name, "uid": pod.uid},
        })
    };
    let endpoints: Vec<Value> = pods.iter().enumerate().map(endpoint).collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        // The controller copies the labels of the Service.
        "metadata": {"name": "main-bench", "labels": {
            "kubernetes.io/service-name": "main", "app.kubernetes.io/managed-by": "nauthera-operator",
        }},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}],
    });
    let path = "/apis/discovery.k8s.io/v1/namespaces/bench/endpointslices";
    stage.post(path, vec![slice]).await.map(drop)
}
