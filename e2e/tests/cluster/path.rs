//! The whole path: manifests in, a person logged in through the ingress, by programs that nobody here wrote.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::kubectl;
use e2e::kstatus;
use e2e::parts::program;
use e2e::relying_party::{RelyingParty, screenshots};
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::{Exposure, Fleet, GROUP};
use crate::login::{browser_arguments, relying_party};
use crate::stage::{API, Stage};

/// The fleet that most scenarios share.
pub(crate) const SHOP: &str = "shop";

pub(crate) async fn a_fleet_becomes_ready_from_its_manifests(stage: &mut Stage) -> Result<()> {
    let started = std::time::Instant::now();
    let fleet = Fleet::create(stage, SHOP, 2, Exposure::Ingress).await?;
    let took = started.elapsed();
    for (group, plural, name) in [
        ("api/v1", "serviceaccounts", "login"),
        ("api/v1", "configmaps", "login-settings"),
        ("api/v1", "secrets", "login-peer"),
        ("api/v1", "secrets", "login-config"),
        ("api/v1", "services", "login"),
        ("apis/apps/v1", "deployments", "login"),
        ("apis/policy/v1", "poddisruptionbudgets", "login"),
    ] {
        let path = format!("/{group}/namespaces/{SHOP}/{plural}/{name}");
        let child = stage.get(&path).await?;
        let labels = &child["metadata"]["labels"];
        ensure!(
            labels["app.kubernetes.io/managed-by"] == "nauthera-operator",
            "{path}: {labels}"
        );
    }
    let jobs = stage.get(&format!("/apis/batch/v1/namespaces/{SHOP}/jobs")).await?;
    ensure!(
        jobs.pointer("/items/0/status/succeeded") == Some(&json!(1)),
        "no migration ran: {jobs}"
    );
    ensure!(fleet.pods(stage).await?.len() == 2, "two pods were asked for");
    let may = [
        "auth",
        "can-i",
        "--list",
        "--no-headers",
        "-n",
        SHOP,
        "--as=system:serviceaccount:shop:login",
    ];
    let rights = stage.cluster.kubectl(&may).await?;
    ensure!(
        !rights.contains("secrets") && !rights.contains("pods"),
        "the servers have rights:\n{rights}"
    );
    let mut objects = Vec::new();
    for (plural, name) in [("authservers", "login"), ("realms", "people"), ("clients", "web")] {
        objects.push(stage.get(&fleet.path(plural, name)).await?);
    }
    let verdicts = kstatus::judge(&objects)?;
    ensure!(
        verdicts
            .iter()
            .all(|verdict| verdict.status == kstatus::Status::Current),
        "{verdicts:?}"
    );
    scenario("manifests applied to an empty namespace")
        .observed("migrated, rolled out, every object Ready, kstatus says Current")
        .recovered_in(took)
}

pub(crate) async fn openid_client_gets_everything_it_asks_for_through_the_ingress(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    relying_party(
        stage,
        RelyingParty::OpenidClient,
        "cluster-openid-client",
        &fleet.settings(9),
        15,
    )?;
    scenario("openid-client through the ingress")
        .observed("every check of the certified client holds over TLS")
        .nothing_to_recover()
}

pub(crate) async fn a_person_in_chromium_signs_in_through_an_ingress(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    browse(stage, &fleet, "cluster-chromium-ingress")?;
    scenario("Chromium through an Ingress")
        .observed("a person signed in and out over TLS")
        .nothing_to_recover()
}

pub(crate) async fn a_person_in_chromium_signs_in_through_an_httproute(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::create(stage, "gateway", 1, Exposure::HttpRoute).await?;
    browse(stage, &fleet, "cluster-chromium-httproute")?;
    stage.delete("/api/v1/namespaces/gateway").await?;
    scenario("Chromium through an HTTPRoute")
        .observed("a person signed in and out over TLS")
        .nothing_to_recover()
}

fn browse(stage: &Stage, fleet: &Fleet, name: &str) -> Result<()> {
    let mut settings = fleet.settings(18090);
    settings["chromium"] = json!(program("NAUTHERA_CHROMIUM")?);
    let folder = screenshots()?.join(name);
    std::fs::create_dir_all(&folder)?;
    settings["screenshots"] = json!(folder);
    settings["browserArguments"] = browser_arguments(stage)?;
    relying_party(stage, RelyingParty::Browser, name, &settings, 10)
}

pub(crate) async fn kubernetes_itself_accepts_our_id_token(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let mut settings = fleet.settings(9);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("token");
    settings["tokenFile"] = json!(file);
    relying_party(stage, RelyingParty::IdToken, "cluster-id-token", &settings, 1)?;
    let token = std::fs::read_to_string(&file).context("the ID token")?;
    stage.secrets.add(
        "ID token of ada",
        token.rsplit('.').next().unwrap_or_default().as_bytes(),
    );
    stage.cluster.authenticate_by(&[json!({
        "issuer": {
            "url": fleet.issuer(),
            "audiences": [settings["clientId"]],
            "certificateAuthority": std::fs::read_to_string(stage.cluster.authority())?,
        },
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "nauthera:"},
            "groups": {"claim": "groups", "prefix": "nauthera:"},
        },
    })])?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "platform-team", "namespace": SHOP},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": format!("nauthera:{GROUP}")}],
    });
    stage.cluster.apply(&binding.to_string()).await?;
    let kubeconfig = stage.cluster.kubeconfig_of_token("ada", token.trim())?;
    // The API server reads its file again within seconds, and the keys of the issuer after that.
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    let who: Value = loop {
        match kubectl(&kubeconfig, &["auth", "whoami", "-o", "json"], "").await {
            Ok(answer) => break serde_json::from_str(&answer)?,
            Err(error) if std::time::Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    };
    let info = &who["status"]["userInfo"];
    ensure!(
        info["username"]
            .as_str()
            .is_some_and(|name| name.starts_with("nauthera:")),
        "{who}"
    );
    let group = format!("nauthera:{GROUP}");
    ensure!(
        info["groups"]
            .as_array()
            .is_some_and(|groups| groups.iter().any(|one| *one == group)),
        "{who}"
    );
    kubectl(&kubeconfig, &["-n", SHOP, "get", "pods,clients.auth.nauthera.io"], "").await?;
    let refused = kubectl(&kubeconfig, &["-n", SHOP, "get", "secrets"], "").await;
    ensure!(
        refused.is_err_and(|error| error.to_string().contains("Forbidden")),
        "a group that may view reads Secrets"
    );
    ensure!(stage.get(API).await.is_ok(), "nobody else may be locked out");
    scenario("kube-apiserver as a relying party")
        .observed("whoami names sub and group; RBAC by group holds")
        .nothing_to_recover()
}
