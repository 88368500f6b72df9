//! What a whole cluster runs for everybody: DNS, and an ingress controller. And what a test may add: cert-manager.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::pki::Pki;
use super::{Cluster, Part};
use crate::parts::program;

const DNS: &str = include_str!("manifests/dns.yaml");
const INGRESS: &str = include_str!("manifests/ingress.yaml");

/// The images of the cluster itself, in the order in which the node needs them.
pub(super) const IMAGES: &[&str] = &[
    "NAUTHERA_IMAGE_PAUSE",
    "NAUTHERA_IMAGE_COREDNS",
    "NAUTHERA_IMAGE_TRAEFIK",
];

/// Installs both; they become ready on their own.
pub(super) async fn install(cluster: &Cluster, pki: &Pki) -> Result<()> {
    let filled = |manifest: &str| manifest.replace("${ADDRESS}", cluster.address());
    cluster.apply(&filled(DNS)).await?;
    define(cluster, "NAUTHERA_CLUSTER_CRDS").await?;
    let certificate = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "ingress", "namespace": "kube-system"},
        "stringData": {
            "tls.crt": fs::read_to_string(pki.certificate("ingress"))?,
            "tls.key": fs::read_to_string(pki.key("ingress"))?,
        },
    });
    cluster.apply(&certificate.to_string()).await?;
    cluster.apply(&filled(INGRESS)).await
}

/// Installs the CRDs in the file that the environment variable names, and waits until they can be used.
async fn define(cluster: &Cluster, variable: &str) -> Result<()> {
    let file = program(variable)?.display().to_string();
    cluster.kubectl(&["apply", "--server-side", "-f", &file]).await?;
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "-f", &file];
    cluster.kubectl(&wait).await.map(|_| ())
}

impl Cluster {
    /// The controllers of cert-manager (Issuers of the kinds `ca` and `selfSigned`), started unless they run.
    pub async fn start_cert_manager(&self) -> Result<Part> {
        const NAME: &str = "cert-manager";
        if let Ok(part) = self.part(NAME)
            && part.runs()
        {
            return Ok(part);
        }
        define(self, "NAUTHERA_CERT_MANAGER_CRDS").await?;
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig().display());
        self.site
            .start(NAME, &program("NAUTHERA_CERT_MANAGER")?, vec![kubeconfig])
    }
}

/// Waits until both serve.
pub(super) async fn wait_until_ready(cluster: &Cluster) -> Result<()> {
    for deployment in ["deployment/coredns", "deployment/traefik"] {
        cluster
            .kubectl(&["-n", "kube-system", "rollout", "status", deployment, "--timeout=120s"])
            .await?;
    }
    Ok(())
}
