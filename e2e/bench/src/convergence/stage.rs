//! A real API server and a real operator, and custom resources by the thousand. No node: the servers are processes of
//! this machine, with the pod, the token, the certificate and the mounted configuration that a node would give them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::{Cluster, Mode};
use e2e::parts::{checkout, free_port};
use e2e::process::{Process, tail};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::fleet::FLEET;
use crate::server;

/// Requests to the API server at the same time.
const AT_ONCE: usize = 16;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Where custom resources are.
const GROUP: &str = "/apis/auth.nauthera.io/v1alpha1/namespaces/bench";

/// The stage. Dropping it removes everything.
pub(crate) struct Stage {
    cluster: Cluster,
    operator: Process,
    http: u16,
    config: u16,
    folder: TempDir,
}

impl Stage {
    /// An API server with our definitions, an operator, and an AuthServer.
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::start(Mode::ControlPlane).await?;
        for file in ["authservers", "realms", "clients"] {
            let manifest = checkout().join(format!("crds/manifests/auth.nauthera.io_{file}.yaml"));
            cluster.apply(&std::fs::read_to_string(manifest)?).await?;
        }
        cluster
            .kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])
            .await?;
        for namespace in ["bench", "nauthera-system"] {
            cluster.kubectl(&["create", "namespace", namespace]).await?;
        }
        let folder = tempfile::tempdir()?;
        let (http, config) = (free_port()?, free_port()?);
        let operator = operator(&cluster, http, config, folder.path())?;
        let stage = Self {
            cluster,
            operator,
            http,
            config,
            folder,
        };
        let fleet = json!({
            "kind": "AuthServer", "metadata": {"name": "main"},
            "spec": {"database": {"embedded": {}}, "realms": {"admit": {"from": "Same", "hosts": ["id.example"]}}},
        });
        stage.create("authservers", vec![fleet]).await?;
        Ok(stage)
    }

    /// Creates custom resources of one plural.
    pub(crate) async fn create(&self, plural: &str, objects: Vec<Value>) -> Result<()> {
        let path = format!("{GROUP}/{plural}");
        let objects = objects.into_iter().map(|mut object| {
            if let Some(members) = object.as_object_mut() {
                members.insert("apiVersion".to_owned(), json!("auth.nauthera.io/v1alpha1"));
            }
            object
        });
        self.post(&path, objects.collect()).await.map(drop)
    }

    /// Posts objects, several at the same time, and returns the answers in the same order.
    pub(crate) async fn post(&self, path: &str, objects: Vec<Value>) -> Result<Vec<Value>> {
        let requests = objects.into_iter().map(|object| (path.to_owned(), object)).collect();
        self.post_each(requests).await
    }

    /// The same, each to a path of its own.
    pub(crate) async fn post_each(&self, requests: Vec<(String, Value)>) -> Result<Vec<Value>> {
        let mut answers = vec![Value::Null; requests.len()];
        let mut waiting = requests.into_iter().enumerate();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((number, (path, object))) = waiting.next()
            {
                let request = self.cluster.client().post(format!("{}{path}", self.cluster.url()));
                running.spawn(async move {
                    let answer = request.json(&object).send().await?;
                    let (status, body) = (answer.status(), answer.text().await?);
                    ensure!(status.is_success(), "{status}: {body}");
                    Ok((number, serde_json::from_str::<Value>(&body)?))
                });
            }
            let Some(done) = running.join_next().await else {
                return Ok(answers);
            };
            let (number, answer) = done??;
            if let Some(place) = answers.get_mut(number) {
                *place = answer;
            }
        }
    }

    /// Changes the display name of a client.
    pub(crate) async fn edit(&self, client: &str, name: &str) -> Result<Value> {
        let answer = self
            .cluster
            .client()
            .patch(format!("{}{GROUP}/clients/{client}", self.cluster.url()))
            .header("content-type", "application/merge-patch+json")
            .body(json!({"spec": {"displayName": name}}).to_string())
            .send()
            .await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// An object of the API server; none when there is none.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>> {
        let answer = self
            .cluster
            .client()
            .get(format!("{}{path}", self.cluster.url()))
            .send()
            .await?;
        let status = answer.status();
        if status.as_u16() == 404 {
            return Ok(None);
        }
        let body = answer.text().await?;
        ensure!(status.is_success(), "{status}: {body}");
        Ok(Some(serde_json::from_str(&body)?))
    }

    /// The changes of all clients from now on, one JSON object a line.
    pub(crate) async fn watch_clients(&self) -> Result<Changes> {
        let path = format!("{GROUP}/clients");
        let list = self.get(&format!("{path}?limit=1")).await?.context("no clients")?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.context("a list without a version")?;
        let answer = self
            .cluster
            .client()
            .get(format!(
                "{}{path}?watch=true&resourceVersion={version}",
                self.cluster.url()
            ))
            .timeout(Duration::from_hours(1))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "watch: {}", answer.status());
        Ok(Changes {
            answer,
            buffer: Vec::new(),
        })
    }

    /// The sum of a metric of the operator over its labels, 0 when it has no sample.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let (status, text) = server::get(([127, 0, 0, 1], self.http).into(), "localhost", "/metrics")?;
        ensure!(status == 200, "/metrics answered {status}");
        let samples = text.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        let mut sum = 0.0;
        for sample in samples.filter(|line| line.contains(label)) {
            let value = sample.rsplit(' ').next().context("a sample has a value")?;
            sum += value.parse::<f64>().with_context(|| format!("metric {name}"))?;
        }
        Ok(sum)
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut condition: impl AsyncFnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !condition(self).await? {
            self.operator.expect_running()?;
            let said = || tail(&self.operator.output(), 20);
            ensure!(Instant::now() < deadline, "not {what} after {patience:?}:\n{}", said());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The process of the operator.
    pub(crate) fn operator(&self) -> u32 {
        self.operator.id()
    }

    /// The port of the configuration stream.
    pub(crate) fn config_port(&self) -> u16 {
        self.config
    }

    /// A folder that goes with the stage.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The operator as its chart starts it, with the rights of an administrator.
fn operator(cluster: &Cluster, http: u16, config: u16, folder: &Path) -> Result<Process> {
    let mut command = Command::new(server::beside("nauthera-operator")?);
    command
        .args(["run", "--log-level", "warn"])
        .args(["--listen-config", &format!("127.0.0.1:{config}")])
        .args(["--listen-http", &format!("127.0.0.1:{http}")])
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("POD_NAMESPACE", "nauthera-system")
        .env("POD_NAME", "bench")
        // As its image does.
        .env("MIMALLOC_PURGE_DELAY", "0");
    Process::spawn("nauthera-operator", &command, &folder.join("operator.log"))
}

/// Realms of the fleet: one host, a path each, an ES256 key each (RSA keys by the thousand take an hour to make).
pub(crate) fn realms(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let realm = |number: usize| {
        json!({
            "kind": "Realm", "metadata": {"name": format!("realm-{number}")},
            "spec": {
                "serverRef": {"name": "main"}, "issuer": format!("https://id.example/realm-{number}"),
                "signing": {"algorithms": ["ES256"]},
            },
        })
    };
    numbers.map(realm).collect()
}

/// Clients, spread over so many realms: web applications with generated secrets.
pub(crate) fn clients(numbers: std::ops::Range<usize>, realms: usize) -> Vec<Value> {
    let client = |number: usize| {
        json!({
            "kind": "Client", "metadata": {"name": format!("client-{number}")},
            "spec": {
                "realmRef": {"name": format!("realm-{}", number % realms.max(1))},
                "type": "Confidential", "displayName": format!("Application {number}"),
                "redirectUris": [format!("https://app-{number}.example/callback")],
            },
        })
    };
    numbers.map(client).collect()
}

/// Namespace and name of the fleet, as labels of metrics have them.
pub(crate) const FLEET_LABEL: &str = FLEET;

/// Changes of objects as a watch tells them.
pub(crate) struct Changes {
    answer: reqwest::Response,
    buffer: Vec<u8>,
}

impl Changes {
    /// The next object that changed.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line)?;
                return event.get("object").cloned().context("an event without an object");
            }
            let chunk = self.answer.chunk().await?;
            self.buffer.extend_from_slice(&chunk.context("the watch ended")?);
        }
    }
}
