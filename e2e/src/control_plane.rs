//! A real Kubernetes API server with its etcd, and nothing else of a cluster: what judges schemas,
//! CEL rules and their cost, RBAC and server-side apply. Ready in about three seconds.

mod pki;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::parts::{free_port, install_cryptography, program};
use crate::process::Process;
use pki::Pki;

/// How long etcd and the API server may take to be ready on a loaded machine.
const START: Duration = Duration::from_secs(90);

/// How often a start is repeated when somebody else took one of the ports meanwhile.
const ATTEMPTS: u32 = 3;

/// The running control plane. Dropping it stops both servers and deletes their files.
#[derive(Debug)]
pub struct ControlPlane {
    url: String,
    client: reqwest::Client,
    kubeconfig: PathBuf,
    // In the order of their end: an API server that loses etcd first hangs for a minute.
    api_server: Process,
    _etcd: Process,
    _folder: TempDir,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver and waits until the API server says that it is ready.
    pub async fn start() -> Result<Self> {
        install_cryptography();
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::attempt().await {
                Ok(started) => return Ok(started),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    async fn attempt() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("nauthera-control-plane.").tempdir()?;
        let pki = Pki::write(folder.path())?;
        let (client_port, peer_port, api_port) = (free_port()?, free_port()?, free_port()?);
        let etcd = start_etcd(folder.path(), client_port, peer_port)?;
        let api_server = start_api_server(folder.path(), &pki, client_port, api_port)?;
        let url = format!("https://127.0.0.1:{api_port}");
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(pki.ca.as_bytes())?])
            .identity(reqwest::Identity::from_pem(pki.admin.as_bytes())?)
            .timeout(Duration::from_secs(30))
            .build()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, serde_json::to_vec_pretty(&config(&url, folder.path()))?)?;
        let mut started = Self {
            url,
            client,
            kubeconfig,
            api_server,
            _etcd: etcd,
            _folder: folder,
        };
        started.wait_until_ready().await?;
        Ok(started)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.client.get(format!("{}/readyz", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            self.api_server.expect_running()?;
            if Instant::now() > deadline {
                bail!(
                    "kube-apiserver is not ready after {START:?}:\n{}",
                    crate::process::tail(&self.api_server.output(), 30)
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The address, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An HTTP client with the rights of `system:masters`.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A kubeconfig file with the same rights, for programs that take one.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

fn start_etcd(folder: &Path, client_port: u16, peer_port: u16) -> Result<Process> {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let arguments = [
        "--unsafe-no-fsync".to_owned(),
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".to_owned(),
    ];
    Process::start("etcd", &program("NAUTHERA_ETCD")?, arguments, &folder.join("etcd.log"))
}

fn start_api_server(folder: &Path, pki: &Pki, etcd_port: u16, port: u16) -> Result<Process> {
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".to_owned(),
        // No endpoints of the Service `kubernetes`: they may not be on loopback.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", path("certificates")),
        format!("--tls-cert-file={}", path(pki.server_certificate)),
        format!("--tls-private-key-file={}", path(pki.server_key)),
        format!("--client-ca-file={}", path(pki.ca_file)),
        format!("--service-account-key-file={}", path(pki.service_account_public_key)),
        format!("--service-account-signing-key-file={}", path(pki.service_account_key)),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        // Nothing here runs the controller that makes a namespace's default ServiceAccount.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
    ];
    Process::start(
        "kube-apiserver",
        &program("NAUTHERA_KUBE_APISERVER")?,
        arguments,
        &folder.join("kube-apiserver.log"),
    )
}

fn config(url: &str, folder: &Path) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "admin",
        "contexts": [{"name": "admin", "context": {"cluster": "admin", "user": "admin"}}],
        "clusters": [{"name": "admin", "cluster": {"server": url, "certificate-authority": folder.join("ca.crt")}}],
        "users": [{"name": "admin", "user": {
            "client-certificate": folder.join("admin.crt"),
            "client-key": folder.join("admin.key"),
        }}],
    })
}
