//! What every scenario stands on: a cluster, a PostgreSQL beside it, the operator installed by its charts with the
//! rights that those give it, and the collection of what the oracles look at in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::audit::rbac::ServiceAccount;
use e2e::cluster::Cluster;
use e2e::leaks::Secrets;
use e2e::parts::{checkout, program};
use e2e::postgres::Postgres;
use serde_json::Value;

/// Where the operator is installed.
pub(crate) const OPERATOR_NAMESPACE: &str = "nauthera-system";

/// What a pod may take to be ready on a loaded machine.
pub(crate) const READY: Duration = Duration::from_mins(2);

/// Our own API, as a path.
pub(crate) const API: &str = "/apis/auth.nauthera.io/v1alpha1";

/// A running cluster with an installed operator.
pub(crate) struct Stage {
    pub(crate) postgres: Postgres,
    pub(crate) cluster: Cluster,
    /// Every secret that was there after some scenario.
    pub(crate) secrets: Secrets,
    /// Events and objects as they were after each scenario, by where they are from.
    pub(crate) seen: BTreeMap<String, BTreeSet<String>>,
    /// When the operator had no rights: its installation was being removed, or the API server had not read the roles.
    pub(crate) without_rights: Vec<(jiff::Timestamp, jiff::Timestamp)>,
    logs: PathBuf,
}

impl Stage {
    /// Starts everything and installs the charts.
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::obtain().await?;
        let namespace = cluster.namespace().context("a cluster without a node")?;
        let logs = checkout().join("target/cluster-logs/pods");
        let _ = std::fs::remove_dir_all(&logs);
        let stage = Self {
            postgres: Postgres::start_within(&namespace, cluster.address())?,
            cluster,
            secrets: Secrets::default(),
            seen: BTreeMap::new(),
            without_rights: Vec::new(),
            logs,
        };
        stage.keep_pod_logs()?;
        // A cluster that was kept has those of the last run.
        let left = [
            "delete",
            "namespace",
            "--selector=nauthera.test/stage",
            "--timeout=120s",
        ];
        stage.cluster.kubectl(&left).await?;
        for image in ["operator", "auth"] {
            let archive = checkout().join(format!("target/images/nauthera-{image}.tar"));
            ensure!(archive.is_file(), "{} is missing: run `make images`", archive.display());
            stage.cluster.load_image(&archive)?;
        }
        stage.namespace(OPERATOR_NAMESPACE).await?;
        stage.install(&[]).await?;
        Ok(stage)
    }

    /// Installs or upgrades both charts and waits as `helm --wait` does.
    pub(crate) async fn install(&self, values: &[&str]) -> Result<()> {
        self.helm(&["upgrade", "--install", "nauthera-crds", "charts/nauthera-crds"])
            .await?;
        let mut arguments = vec![
            "upgrade",
            "--install",
            "nauthera",
            "charts/nauthera",
            "--wait",
            "--timeout=120s",
        ];
        for value in values {
            arguments.extend(["--set", value]);
        }
        self.helm(&arguments).await.map(|_| ())
    }

    /// Runs helm in the operator's namespace.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new(program("NAUTHERA_HELM")?)
            .current_dir(checkout())
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .args(["--namespace", OPERATOR_NAMESPACE])
            .args(arguments)
            .output()
            .await
            .context("helm")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {}: {complaint}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes a namespace that admits only restricted pods.
    pub(crate) async fn namespace(&self, name: &str) -> Result<()> {
        let namespace = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": name,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted", "nauthera.test/stage": "true"},
        }});
        self.cluster.apply(&namespace.to_string()).await
    }

    /// Who the operator is to the API server.
    pub(crate) fn operator() -> ServiceAccount {
        ServiceAccount {
            namespace: OPERATOR_NAMESPACE.to_owned(),
            name: "nauthera-operator".to_owned(),
        }
    }

    /// An object of the API server at a path.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.cluster.url());
        let answer = self.cluster.client().get(url).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "GET {path}: {status}: {}", body["message"]);
        Ok(body)
    }

    /// Merges fields into an object; returns it as it is then.
    pub(crate) async fn merge(&self, path: &str, fields: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.cluster.url());
        let request = self.cluster.client().patch(url);
        let answer = request
            .header("content-type", "application/merge-patch+json")
            .body(fields.to_string())
            .send()
            .await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "PATCH {path}: {status}: {}", body["message"]);
        Ok(body)
    }

    /// Deletes an object without waiting until it is gone.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.cluster.url());
        let status = self.cluster.client().delete(url).send().await?.status();
        ensure!(status.is_success(), "DELETE {path}: {status}");
        Ok(())
    }

    /// Reads an object again and again until `wanted` finds what it looks for; returns that and how long it took.
    pub(crate) async fn until<T>(
        &self,
        path: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> Result<(T, Duration)> {
        let started = Instant::now();
        loop {
            let object = self.get(path).await;
            if let Some(found) = object.as_ref().ok().and_then(&wanted) {
                return Ok((found, started.elapsed()));
            }
            if started.elapsed() > patience {
                let shown = object.map(|object| brief(&object));
                bail!("{path} is not as expected after {patience:?}: {shown:?}");
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until an object of ours is Ready for its current generation; returns how long that took.
    pub(crate) async fn ready(&self, path: &str, patience: Duration) -> Result<Duration> {
        let is_ready = |object: &Value| is_current(object, "Ready").then_some(());
        Ok(self.until(path, patience, is_ready).await?.1)
    }

    /// The pods of a namespace with these labels: UID and restarts by name.
    pub(crate) async fn pods(&self, namespace: &str, labels: &str) -> Result<BTreeMap<String, (String, i64)>> {
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={labels}");
        let list = self.get(&path).await?;
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let alive = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(alive
            .map(|pod| {
                let statuses = pod["status"]["containerStatuses"].as_array();
                let restarts = statuses
                    .into_iter()
                    .flatten()
                    .filter_map(|one| one["restartCount"].as_i64());
                let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
                (text("name"), (text("uid"), restarts.sum()))
            })
            .collect())
    }

    /// The processes of a pod's containers on this machine, without the one that only holds its namespaces.
    pub(crate) fn processes(pod_uid: &str) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse::<i32>().ok()) else {
                continue;
            };
            let text = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
            if text("cgroup").contains(&format!("pod{pod_uid}")) && text("cmdline").contains("nauthera-") {
                found.push(id);
            }
        }
        ensure!(!found.is_empty(), "the pod {pod_uid} has no process here");
        Ok(found)
    }

    /// Waits until the operator runs with so many ready replicas.
    pub(crate) async fn operators(&self, count: u32) -> Result<()> {
        let scale = format!("/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/nauthera-operator");
        self.merge(&scale, &serde_json::json!({"spec": {"replicas": count}}))
            .await?;
        let as_wanted = |object: &Value| {
            let number = |field: &str| object["status"][field].as_u64().unwrap_or_default();
            let observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            (observed && number("readyReplicas") == u64::from(count) && number("replicas") == u64::from(count))
                .then_some(())
        };
        self.until(&scale, READY, as_wanted).await?;
        let gone = |list: &Value| list["items"].as_array().is_some_and(Vec::is_empty).then_some(());
        if count == 0 {
            let pods = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods");
            self.until(&pods, READY, gone).await?;
        }
        Ok(())
    }

    /// A command in the cluster's network that trusts the authority of its ingress.
    pub(crate) fn inside(&self, line: &[PathBuf]) -> Result<Command> {
        let (program, arguments) = line.split_first().context("a command without a program")?;
        let mut command = self.cluster.command(program)?;
        command
            .args(arguments)
            .env("NODE_EXTRA_CA_CERTS", self.cluster.authority())
            .env("SSL_CERT_FILE", self.cluster.authority());
        Ok(command)
    }

    /// Links the log files of pods to where they outlive them, until the cluster is gone.
    fn keep_pod_logs(&self) -> Result<()> {
        let (from, to) = (self.cluster.folder().join("pod-logs"), self.logs.clone());
        std::fs::create_dir_all(&to)?;
        std::thread::spawn(move || {
            let mut was_there = false;
            while from.exists() || !was_there {
                was_there |= from.exists();
                link_logs(&from, &to);
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        Ok(())
    }

    /// The logs of all pods that ever ran here: name and content.
    pub(crate) fn pod_logs(&self) -> Result<Vec<(String, String)>> {
        link_logs(&self.cluster.folder().join("pod-logs"), &self.logs);
        let mut logs = Vec::new();
        for entry in std::fs::read_dir(&self.logs)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            logs.push((name, String::from_utf8_lossy(&std::fs::read(path)?).into_owned()));
        }
        Ok(logs)
    }

    /// Remembers the Secrets, Events and objects that are there now.
    pub(crate) async fn collect(&mut self) -> Result<()> {
        let secrets = self.get("/api/v1/secrets").await?;
        self.secrets
            .take(secrets["items"].as_array().map(Vec::as_slice).unwrap_or_default())?;
        for path in [
            "/api/v1/events".to_owned(),
            format!("{API}/authservers"),
            format!("{API}/realms"),
            format!("{API}/clients"),
            "/api/v1/configmaps".to_owned(),
            "/apis/apps/v1/deployments".to_owned(),
            "/apis/batch/v1/jobs".to_owned(),
        ] {
            let list = self.get(&path).await?;
            let texts = list["items"].as_array().into_iter().flatten().map(Value::to_string);
            self.seen.entry(path).or_default().extend(texts);
        }
        Ok(())
    }

    /// Keeps what explains a failure, as well as it can be had.
    pub(crate) async fn keep_evidence(&self, scenario: &str) {
        let folder = checkout().join("target/cluster-logs").join(scenario.replace("::", "-"));
        let _ = std::fs::create_dir_all(&folder);
        for (name, arguments) in [
            ("objects", "get nas,nrealm,ncl -A -o yaml"),
            ("pods", "get pods,jobs,deployments,endpointslices -A -o wide"),
            ("events", "get events -A --sort-by=.lastTimestamp"),
            (
                "operator",
                "-n nauthera-system logs -l app.kubernetes.io/component=operator --tail=300 --prefix",
            ),
        ] {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let printed = self.cluster.kubectl(&arguments).await;
            let text = printed.unwrap_or_else(|error| format!("{error:#}"));
            let _ = std::fs::write(folder.join(format!("{name}.txt")), text);
        }
    }
}

fn link_logs(from: &Path, to: &Path) {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    // POD/CONTAINER/RESTART.log
    for pod in below(from) {
        for log in below(&pod).iter().flat_map(|container| below(container)) {
            let name = log
                .strip_prefix(from)
                .unwrap_or(&log)
                .display()
                .to_string()
                .replace('/', "_");
            // Most are linked already, and one may just be going away.
            let _ = std::fs::hard_link(&log, to.join(name));
        }
    }
}

/// The status, reason and message of a condition.
pub(crate) fn condition<'o>(object: &'o Value, kind: &str) -> Option<(&'o str, &'o str, &'o str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether a condition is True for the generation that the object has now.
pub(crate) fn is_current(object: &Value, kind: &str) -> bool {
    let generation = object.pointer("/metadata/generation");
    generation.is_some()
        && object.pointer("/status/observedGeneration") == generation
        && condition(object, kind).is_some_and(|(status, ..)| status == "True")
}

/// What of an object explains why it is not as expected.
fn brief(object: &Value) -> String {
    match object.get("status") {
        Some(status) => format!("generation {}, status {status}", object["metadata"]["generation"]),
        None => object.to_string(),
    }
}
