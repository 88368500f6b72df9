//! The harness itself: a control plane starts, answers and leaves nothing behind.

use e2e::cluster::{Cluster, Mode};

#[tokio::test]
async fn a_control_plane_is_of_the_release_that_it_was_built_from() {
    let cluster = Cluster::start(Mode::ControlPlane).await.unwrap();
    let version: serde_json::Value = cluster
        .client()
        .get(format!("{}/version", cluster.url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let minor: u32 = version["minor"]
        .as_str()
        .and_then(|minor| minor.parse().ok())
        .unwrap_or_default();
    assert!(
        minor >= 33,
        "CEL and schemas are judged by a current release: {version}"
    );
    let kubeconfig = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    assert!(kubeconfig.contains(&cluster.url()), "{kubeconfig}");
}
