//! What a whole cluster runs for everybody: DNS, and an ingress controller.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::Cluster;
use super::pki::Pki;
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
    let definitions = program("NAUTHERA_CLUSTER_CRDS")?.display().to_string();
    cluster
        .kubectl(&["apply", "--server-side", "-f", definitions.as_str()])
        .await?;
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "-f",
            definitions.as_str(),
        ])
        .await?;
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

/// Waits until both serve.
pub(super) async fn wait_until_ready(cluster: &Cluster) -> Result<()> {
    for deployment in ["deployment/coredns", "deployment/traefik"] {
        cluster
            .kubectl(&["-n", "kube-system", "rollout", "status", deployment, "--timeout=120s"])
            .await?;
    }
    Ok(())
}
