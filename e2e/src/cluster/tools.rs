//! What a test does to a cluster: kubectl, further users, the audit log, compaction.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::Cluster;
use super::control_plane::authentication_of;
use super::pki::User;
use crate::parts::program;

impl Cluster {
    /// Runs kubectl as `system:masters` and returns what it printed; fails with what it complained about.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&self.kubeconfig(), arguments, "").await
    }

    /// Applies manifests, YAML or JSON, on the server's side.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        kubectl(&self.kubeconfig(), &arguments, manifests).await.map(|_| ())
    }

    /// One object, or a list, as JSON: `json(&["get", "pods", "-A"])`.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let printed = self.kubectl(&[arguments, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&printed).context("what kubectl printed")
    }

    /// Asks again until `wanted` finds what it looks for; fails with the last answer after `patience`.
    pub async fn until<T>(
        &self,
        arguments: &[&str],
        patience: Duration,
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            let answer = self.json(arguments).await;
            if let Some(found) = answer.as_ref().ok().and_then(&wanted) {
                return Ok(found);
            }
            ensure!(
                Instant::now() < deadline,
                "kubectl {} does not say what is waited for: {answer:?}",
                arguments.join(" ")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A kubeconfig of a user who proves itself by certificate.
    pub fn kubeconfig_of_user(&self, name: &str, groups: &[&str]) -> Result<PathBuf> {
        let file = format!("user-{}", name.replace([':', '/'], "-"));
        let pki = self.pki();
        pki.add_user(&file, User { name, groups })?;
        self.write_kubeconfig(
            &format!("{file}.kubeconfig"),
            &json!({"client-certificate": pki.certificate(&file), "client-key": pki.key(&file)}),
        )
    }

    /// A kubeconfig with a token of this ServiceAccount, as its pods would have one.
    pub async fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self
            .kubectl(&["-n", namespace, "create", "token", name, "--duration=24h"])
            .await?;
        self.write_kubeconfig(
            &format!("service-account-{namespace}-{name}.kubeconfig"),
            &json!({"token": token.trim()}),
        )
    }

    /// A kubeconfig for whoever holds this bearer token.
    pub fn kubeconfig_of_token(&self, file: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig(&format!("{file}.kubeconfig"), &json!({"token": token}))
    }

    /// Writes a kubeconfig file with these credentials into the cluster's folder.
    pub(super) fn write_kubeconfig(&self, file: &str, credentials: &Value) -> Result<PathBuf> {
        let authority = fs::read_to_string(self.authority())?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.name(),
            "contexts": [{"name": self.name(), "context": {"cluster": self.name(), "user": self.name()}}],
            "clusters": [{"name": self.name(), "cluster": {
                "server": self.url(),
                "certificate-authority": self.authority(),
            }}],
            "users": [{"name": self.name(), "user": credentials}],
        });
        ensure!(!authority.is_empty(), "the authority's certificate is empty");
        let path = self.folder().join(file);
        fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        Ok(path)
    }

    /// The API server's audit log: one JSON object per line, at level Metadata.
    pub fn audit_log(&self) -> PathBuf {
        self.folder().join("audit.log")
    }

    /// The entries of the audit log so far. A line that is still being written is left out.
    pub fn audit_entries(&self) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.audit_log())?;
        Ok(log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Lets the API server accept the tokens of these issuers, as `jwt` of an
    /// `AuthenticationConfiguration`. It reads the file again by itself within seconds.
    pub fn authenticate_by(&self, jwt: &[Value]) -> Result<()> {
        // Written beside and renamed: the server must never read half of it.
        let (part, whole) = (
            self.folder().join("authentication.part"),
            self.folder().join("authentication.json"),
        );
        fs::write(&part, authentication_of(jwt).to_string())?;
        Ok(fs::rename(part, whole)?)
    }

    /// Makes etcd forget all revisions before the newest, so that a watch that lost its place must list
    /// again once the API server has lost its cache, too (`part("kube-apiserver")`, `kill`).
    pub async fn compact(&self) -> Result<()> {
        let etcd = format!("http://{}:{}/v3/kv", self.address(), self.site.etcd_port);
        let client = crate::parts::http_client()?;
        let newest: Value = client
            .post(format!("{etcd}/range"))
            .json(&json!({"key": "AA==", "limit": 1}))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let revision = newest
            .pointer("/header/revision")
            .context("etcd did not name its revision")?;
        client
            .post(format!("{etcd}/compaction"))
            .json(&json!({"revision": revision, "physical": true}))
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }
}

/// Runs kubectl with a kubeconfig and an input.
pub async fn kubectl(kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = tokio::process::Command::new(program("NAUTHERA_KUBECTL")?)
        .env("KUBECONFIG", kubeconfig)
        .arg(format!(
            "--cache-dir={}",
            kubeconfig.with_file_name("kubectl-cache").display()
        ))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("kubectl")?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why by itself.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "kubectl {}: {}",
        arguments.join(" "),
        complaint.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
