//! What those say who wait for an object: kstatus (Helm, Flux, Argo CD), `kubectl wait`, and Events.

use anyhow::{Result, ensure};
use e2e::kstatus::{Status, judge_one};
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::path::SHOP;
use crate::stage::{READY, Stage, condition};

pub(crate) async fn whoever_waits_is_told_the_truth_in_every_state(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    stage.operators(0).await?;
    let fresh = fleet.path("clients", "fresh");
    stage
        .cluster
        .apply(&fleet.client("fresh", json!({})).to_string())
        .await?;
    expect(stage, &fresh, Status::InProgress, "nobody has looked at it").await?;
    stage.operators(2).await?;
    stage.ready(&fresh, READY).await?;
    expect(stage, &fresh, Status::Current, "it is live").await?;
    let wait = [
        "-n",
        SHOP,
        "wait",
        "--for=condition=Ready",
        "--timeout=5s",
        "clients.auth.nauthera.io/fresh",
    ];
    stage.cluster.kubectl(&wait).await?;

    // Nobody waits for what is frozen, unless something about it waits.
    let pause = |value: Value| json!({"metadata": {"annotations": {"auth.nauthera.io/paused": value}}});
    stage.merge(&fresh, &pause(json!("true"))).await?;
    has(stage, &fresh, "Paused").await?;
    expect(stage, &fresh, Status::Current, "it is frozen as its spec says").await?;
    stage
        .merge(&fresh, &json!({"spec": {"displayName": "Edited while frozen"}}))
        .await?;
    has(stage, &fresh, "Stalled").await?;
    expect(stage, &fresh, Status::Failed, "an edit waits for the end of the pause").await?;
    stage.merge(&fresh, &pause(Value::Null)).await?;
    stage.ready(&fresh, READY).await?;
    expect(stage, &fresh, Status::Current, "the edit is live").await?;

    // Its realm may still be applied.
    let early = fleet.path("clients", "early");
    let object = fleet.client("early", json!({"realmRef": {"name": "not-there-yet"}}));
    stage.cluster.apply(&object.to_string()).await?;
    has(stage, &early, "Reconciling").await?;
    expect(stage, &early, Status::InProgress, "its realm is missing").await?;
    stage.delete(&early).await?;

    // Nobody but its author can help it.
    stage.namespace("elsewhere").await?;
    let mut object = fleet.client("stranger", json!({"realmRef": {"name": "people", "namespace": SHOP}}));
    object["metadata"]["namespace"] = json!("elsewhere");
    stage.cluster.apply(&object.to_string()).await?;
    let stranger = fleet.path("clients", "stranger").replace("/shop/", "/elsewhere/");
    has(stage, &stranger, "Stalled").await?;
    expect(stage, &stranger, Status::Failed, "it is not admitted").await?;
    stage.delete("/api/v1/namespaces/elsewhere").await?;

    let held = json!({"metadata": {"finalizers": ["tests.nauthera.test/held"]}});
    stage.merge(&fresh, &held).await?;
    stage.delete(&fresh).await?;
    expect(stage, &fresh, Status::Terminating, "it is being deleted").await?;
    stage.merge(&fresh, &json!({"metadata": {"finalizers": null}})).await?;
    scenario("kstatus in every state")
        .observed(
            "unseen and waiting: InProgress; live, and frozen so: Current; not admitted, and edited while frozen: Failed; \
             deleted: Terminating",
        )
        .nothing_to_recover()
}

async fn expect(stage: &Stage, path: &str, status: Status, why: &str) -> Result<()> {
    let object = stage.get(path).await?;
    let verdict = judge_one(&object)?;
    ensure!(
        verdict.status == status,
        "{path}: {why}, so {status:?} is right, but kstatus says {verdict:?} of {}",
        object["status"]
    );
    Ok(())
}

async fn has(stage: &Stage, path: &str, kind: &str) -> Result<()> {
    let is_true = |object: &Value| condition(object, kind).and_then(|(status, ..)| (status == "True").then_some(()));
    stage.until(path, READY, is_true).await.map(|_| ())
}

pub(crate) async fn an_event_tells_of_each_transition_once(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let path = fleet.path("clients", "told");
    stage
        .cluster
        .apply(&fleet.client("told", json!({})).to_string())
        .await?;
    stage.ready(&path, READY).await?;
    // An edit that changes nothing about the state, and a minute's worth of rounds.
    for edit in 0..3 {
        stage
            .merge(&path, &json!({"spec": {"displayName": format!("Told {edit}")}}))
            .await?;
        stage.ready(&path, READY).await?;
    }
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let list = stage
        .get(&format!("/apis/events.k8s.io/v1/namespaces/{SHOP}/events"))
        .await?;
    let events: Vec<String> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|event| event["regarding"]["name"] == "told" && event["regarding"]["kind"] == "Client")
        .map(|event| format!("{} {}: {}", event["type"], event["reason"], event["note"]))
        .collect();
    ensure!(!events.is_empty(), "no Event tells that the Client is live");
    let mut once = events.clone();
    once.sort();
    once.dedup();
    ensure!(
        once.len() == events.len() && events.len() <= 4,
        "Events repeat: {events:#?}"
    );
    scenario("Events of a new Client and three edits")
        .observed(format!("{} Events, none twice", events.len()))
        .nothing_to_recover()
}
