//! New versions, new settings, and the end of an installation, while people sign in.

use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::scenario;
use serde_json::{Value, json};

use crate::delivery::rename;
use crate::fleet::Fleet;
use crate::login::Logins;
use crate::path::SHOP;
use crate::stage::{API, OPERATOR_NAMESPACE, READY, Stage, is_current};

const OPERATOR: &str = "app.kubernetes.io/component=operator";

pub(crate) async fn a_helm_upgrade_of_the_operator_restarts_no_server(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let (servers, operators) = (
        fleet.pods(stage).await?,
        stage.pods(OPERATOR_NAMESPACE, OPERATOR).await?,
    );
    let logins = Logins::start(stage, &fleet, json!({})).await?;
    let started = Instant::now();
    stage.install(&["podAnnotations.tests/upgrade=first"]).await?;
    rename(stage, &fleet, "After the upgrade", READY).await?;
    let took = started.elapsed();
    let after = stage.pods(OPERATOR_NAMESPACE, OPERATOR).await?;
    ensure!(
        operators.keys().all(|name| !after.contains_key(name)),
        "the operator was not replaced: {after:?}"
    );
    ensure!(fleet.pods(stage).await? == servers, "a server was restarted");
    let count = logins.none_lost()?;
    scenario("helm upgrade of the operator under logins")
        .observed(format!(
            "every operator replaced, no server; none of {count} logins lost"
        ))
        .recovered_in(took)
}

pub(crate) async fn a_rolling_upgrade_of_the_servers_loses_no_login(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let before = fleet.pods(stage).await?;
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;
    let started = Instant::now();
    let server = fleet.path("authservers", "login");
    let template = json!({"metadata": {"annotations": {"tests/upgrade": "first"}}});
    stage
        .merge(&server, &json!({"spec": {"podTemplate": template}}))
        .await?;
    stage.ready(&server, READY).await?;
    let pods = format!("/api/v1/namespaces/{SHOP}/pods?labelSelector=app.kubernetes.io/component=auth-server");
    let replaced = |list: &Value| {
        let names: Vec<&str> = list["items"]
            .as_array()?
            .iter()
            .filter_map(|pod| pod["metadata"]["name"].as_str())
            .collect();
        (names.len() == 2 && names.iter().all(|name| !before.contains_key(*name))).then_some(())
    };
    stage.until(&pods, READY, replaced).await?;
    let took = started.elapsed();
    logins.more(5).await?;
    let count = logins.none_lost()?;
    scenario("rolling upgrade of the servers under logins")
        .observed(format!("both pods replaced; none of {count} logins lost"))
        .recovered_in(took)
}

pub(crate) async fn an_uninstalled_operator_leaves_objects_and_data(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let before = fleet.pods(stage).await?;
    let kinds = ["authservers", "realms", "clients"];
    let mut objects = Vec::new();
    for kind in kinds {
        objects.push(count(&stage.get(&format!("{API}/{kind}")).await?));
    }
    let secrets = count(&stage.get(&format!("/api/v1/namespaces/{SHOP}/secrets")).await?);
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;
    let removed = jiff::Timestamp::now();
    stage
        .helm(&["uninstall", "nauthera", "--wait", "--timeout=120s"])
        .await?;
    stage
        .helm(&["uninstall", "nauthera-crds", "--wait", "--timeout=120s"])
        .await?;
    logins.more(5).await?;
    for (kind, before) in kinds.into_iter().zip(objects) {
        let after = count(&stage.get(&format!("{API}/{kind}")).await?);
        ensure!(after == before, "{kind}: {before} before, {after} after");
    }
    ensure!(
        count(&stage.get(&format!("/api/v1/namespaces/{SHOP}/secrets")).await?) == secrets,
        "Secrets are gone"
    );
    // Helm takes the roles before the pods have ended, and they try to hand over the lease.
    let nobody = |list: &Value| list["items"].as_array()?.is_empty().then_some(());
    let pods =
        format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods?labelSelector=app.kubernetes.io/component=operator");
    stage.until(&pods, READY, nobody).await?;
    stage.without_rights.push((removed, jiff::Timestamp::now()));
    let started = Instant::now();
    stage.install(&[]).await?;
    rename(stage, &fleet, "Installed again", READY).await?;
    let took = started.elapsed();
    ensure!(fleet.pods(stage).await? == before, "a server was restarted");
    let server = stage.get(&fleet.path("authservers", "login")).await?;
    ensure!(is_current(&server, "Ready"), "not Ready: {server}");
    let count = logins.none_lost()?;
    scenario("helm uninstall and install again")
        .observed(format!(
            "definitions, objects, Secrets and servers stay; none of {count} logins lost"
        ))
        .recovered_in(took)
}

fn count(list: &Value) -> usize {
    list["items"].as_array().map_or(0, Vec::len)
}
