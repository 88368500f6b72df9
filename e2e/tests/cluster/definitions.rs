//! The definition of a kind deleted by mistake, with every object of that kind.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::login::Logins;
use crate::path::SHOP;
use crate::stage::{API, READY, Stage, condition};

const DEFINITION: &str = "crd/clients.auth.nauthera.io";

pub(crate) async fn a_definition_that_is_deleted_by_mistake_costs_no_login(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let server = fleet.path("authservers", "login");
    let before = stage.get(&server).await?["status"]["clients"].clone();
    let backup = backup(stage).await?;
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;

    stage.cluster.kubectl(&["delete", DEFINITION, "--timeout=60s"]).await?;
    stage.until(&server, READY, degraded("Forbidden")).await?;
    logins.more(5).await?;
    // Also a server that was started afterwards knows the clients.
    let victims = fleet.pods(stage).await?;
    let victim = victims.keys().next().context("a pod")?;
    stage
        .delete(&format!("/api/v1/namespaces/{SHOP}/pods/{victim}"))
        .await?;
    fleet.until_replaced(stage, victim, victims.len()).await?;
    logins.more(5).await?;

    stage
        .helm(&["upgrade", "--install", "nauthera-crds", "charts/nauthera-crds"])
        .await?;
    let established = ["wait", "--for=condition=Established", DEFINITION, "--timeout=30s"];
    stage.cluster.kubectl(&established).await?;
    stage.until(&server, READY, degraded("ShrinkHeld")).await?;
    logins.more(5).await?;

    let applied = Instant::now();
    stage.cluster.apply(&backup.to_string()).await?;
    fleet.ready(stage, READY).await?;
    let restored = |object: &Value| {
        let is_degraded = condition(object, "Degraded").is_some_and(|(status, ..)| status == "True");
        (!is_degraded && object["status"]["clients"] == before).then_some(())
    };
    stage.until(&server, READY, restored).await?;
    let took = applied.elapsed();
    logins.more(5).await?;
    let count = logins.none_lost()?;
    ensure!(count > 0, "nobody signed in");
    scenario("the definition of Client deleted and installed again")
        .observed(format!(
            "its {before} Clients stay served, also by a pod started afterwards, and are what they were once applied again; \
             none of {count} logins lost"
        ))
        .recovered_in(took)
}

/// All Clients as a GitOps tool would apply them; those of a namespace that is on its way out are not.
async fn backup(stage: &Stage) -> Result<Value> {
    let namespaces = stage.get("/api/v1/namespaces").await?;
    let namespaces = namespaces["items"].as_array().into_iter().flatten();
    let active = namespaces.filter(|namespace| namespace["status"]["phase"] == "Active");
    let active: BTreeSet<&str> = active
        .filter_map(|namespace| namespace["metadata"]["name"].as_str())
        .collect();
    let list = stage.get(&format!("{API}/clients")).await?;
    let clients = list["items"].as_array().into_iter().flatten();
    let lasting = clients.filter(|client| {
        let namespace = client["metadata"]["namespace"].as_str();
        namespace.is_some_and(|namespace| active.contains(namespace))
    });
    let items = lasting.map(|client| {
        let metadata = ["name", "namespace", "labels", "annotations"].map(|field| (field, client["metadata"][field].clone()));
        let metadata: serde_json::Map<String, Value> = metadata
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(field, value)| (field.to_owned(), value))
            .collect();
        json!({"apiVersion": "auth.nauthera.io/v1alpha1", "kind": "Client", "metadata": metadata, "spec": client["spec"]})
    });
    let items: Vec<Value> = items.collect();
    ensure!(!items.is_empty(), "no Clients");
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

fn degraded(reason: &str) -> impl Fn(&Value) -> Option<()> {
    move |object| {
        let (status, found, _) = condition(object, "Degraded")?;
        (status == "True" && found == reason).then_some(())
    }
}
