//! What goes on while no operator runs: pods come and go, and somebody else says how many there are.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::scenario;
use serde_json::{Value, json};

use crate::delivery::{counted, rename, sign_in};
use crate::fleet::Fleet;
use crate::login::Logins;
use crate::path::SHOP;
use crate::stage::{READY, Stage};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/login";

pub(crate) async fn a_pod_started_without_an_operator_becomes_ready_and_serves(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let name = "Without an operator";
    rename(stage, &fleet, name, READY).await?;
    stage.operators(0).await?;
    let before = fleet.pods(stage).await?;
    let victim = before.keys().next().context("a pod")?;
    stage
        .delete(&format!("/api/v1/namespaces/{SHOP}/pods/{victim}"))
        .await?;
    let took = fleet.until_replaced(stage, victim, 2).await?;
    all_show(stage, &fleet, name, 2).await?;
    stage.operators(2).await?;
    let converged = rename(stage, &fleet, "With an operator again", READY).await?;
    scenario("a pod started while no operator runs")
        .observed(format!(
            "ready and serving from its files; the operator back, an edit is live after {} ms",
            converged.as_millis()
        ))
        .recovered_in(took)
}

/// The number of an AuthServer is put back when an operator is there again; the number of an autoscaler is not its own.
pub(crate) async fn servers_scaled_without_an_operator_serve_and_are_counted_when_it_is_back(
    stage: &mut Stage,
) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let server = fleet.path("authservers", "login");
    let name = "Scaled without an operator";
    rename(stage, &fleet, name, READY).await?;
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;
    scale_without_operator(stage, &fleet, name).await?;
    let returned = Instant::now();
    stage.operators(2).await?;
    stage.until(&server, READY, counted(2)).await?;
    stage.until(DEPLOYMENT, READY, replicas(2)).await?;
    let took = returned.elapsed();
    logins.more(5).await?;

    let autoscaled = json!({"spec": {"replicas": null, "autoscaling": {"minReplicas": 2, "maxReplicas": 4}}});
    stage.merge(&server, &autoscaled).await?;
    stage.ready(&server, READY).await?;
    scale_without_operator(stage, &fleet, name).await?;
    stage.operators(2).await?;
    stage.until(&server, READY, counted(3)).await?;
    // An edit that is live was made in a round that would have put it back.
    rename(stage, &fleet, "Autoscaled", READY).await?;
    stage.until(DEPLOYMENT, READY, replicas(3)).await?;
    all_show(stage, &fleet, "Autoscaled", 3).await?;

    let fixed = json!({"spec": {"replicas": 2, "autoscaling": null}});
    stage.merge(&server, &fixed).await?;
    stage.until(&server, READY, counted(2)).await?;
    let count = logins.none_lost()?;
    scenario("servers scaled while no operator runs")
        .observed(format!(
            "the third serves; afterwards the number of the AuthServer is back, that of an autoscaler stays; none of {count} \
             logins lost"
        ))
        .recovered_in(took)
}

/// Scales the servers to three by hand, and waits until all of them serve.
async fn scale_without_operator(stage: &Stage, fleet: &Fleet, name: &str) -> Result<()> {
    stage.operators(0).await?;
    let scale = ["-n", SHOP, "scale", "deployment/login", "--replicas=3"];
    stage.cluster.kubectl(&scale).await?;
    fleet.until_serving(stage, 3).await?;
    all_show(stage, fleet, name, 3).await
}

async fn all_show(stage: &Stage, fleet: &Fleet, name: &str, count: usize) -> Result<()> {
    let pages = fleet.answers(stage, &sign_in(fleet)).await?;
    ensure!(
        pages.len() == count && pages.iter().all(|page| page.contains(name)),
        "a pod does not serve the last configuration: {pages:#?}"
    );
    Ok(())
}

fn replicas(count: u64) -> impl Fn(&Value) -> Option<()> {
    move |object| {
        let settled = object["spec"]["replicas"] == count && object["status"]["readyReplicas"] == count;
        (settled && object["status"]["replicas"] == count).then_some(())
    }
}
