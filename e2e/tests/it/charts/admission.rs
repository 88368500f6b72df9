//! The admission policies of the chart, judged by a real API server.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, Mode};

use super::{kubectl, namespaces, rendered};

const REALM: &str = "
apiVersion: auth.nauthera.io/v1alpha1
kind: Realm
metadata: {name: acme, namespace: identity}
spec:
  serverRef: {name: login}
  issuer: ISSUER
";

const CLIENT: &str = "
apiVersion: auth.nauthera.io/v1alpha1
kind: Client
metadata: {name: web, namespace: shop}
spec:
  realmRef: {name: acme, namespace: identity}
  type: Service
";

async fn installed(values: &[&str]) -> Result<Cluster> {
    let cluster = Cluster::start(Mode::ControlPlane).await?;
    kubectl(
        &cluster,
        &["apply", "--server-side", "-f", "INPUT"],
        &namespaces(&["identity", "shop"]),
    )?;
    let crds = rendered("nauthera-crds", values)?;
    kubectl(&cluster, &["apply", "--server-side", "-f", "INPUT"], &crds)?;
    kubectl(
        &cluster,
        &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"],
        "",
    )?;
    Ok(cluster)
}

/// Whether the API server would take the object, or what it says.
fn judged(cluster: &Cluster, object: &str) -> Result<(), String> {
    let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", "INPUT"];
    kubectl(cluster, &arguments, object)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Policies take effect some time after they are stored.
async fn refused(cluster: &Cluster, object: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match judged(cluster, object) {
            Err(said) if said.contains("ValidatingAdmissionPolicy") => return Ok(said),
            other => ensure!(Instant::now() < deadline, "not refused by a policy: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn realm(issuer: &str) -> String {
    REALM.replace("ISSUER", issuer)
}

fn client(id: &str) -> String {
    format!("{CLIENT}  clientId: {id}\n")
}

#[tokio::test]
async fn the_api_server_refuses_what_the_policies_forbid() {
    let cluster = installed(&["--set", "admissionPolicies.httpsIssuers=true"])
        .await
        .unwrap();
    let said = refused(&cluster, &realm("http://localhost:8080/acme")).await.unwrap();
    assert!(said.contains("spec.issuer: must be https in a cluster"), "{said}");
    judged(&cluster, &realm("https://login.example.com/acme")).unwrap();

    let said = refused(&cluster, &client("identity.web")).await.unwrap();
    let expected = "spec.clientId: ids that begin with identity. belong to the namespace of that name";
    assert!(said.contains(expected), "{said}");
    // Its own prefix, the prefix of no namespace, the same letters without the dot, and no id at all.
    for object in [
        client("shop.web"),
        client("com.example.app"),
        client("identity-web"),
        CLIENT.to_owned(),
    ] {
        judged(&cluster, &object).unwrap();
    }
}

#[tokio::test]
async fn issuers_on_this_machine_are_possible_unless_they_are_ruled_out() {
    let cluster = installed(&[]).await.unwrap();
    refused(&cluster, &client("identity.web")).await.unwrap();
    judged(&cluster, &realm("http://localhost:8080/acme")).unwrap();
    judged(&cluster, &realm("http://login.example.com/acme")).unwrap_err();
}
