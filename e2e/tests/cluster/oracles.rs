//! What must hold over everything that happened on the stage.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::audit::Log;
use e2e::audit::rbac::replay;
use e2e::leaks::Text;
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::path::SHOP;
use crate::stage::{READY, Stage};

const CLIENTS: usize = 100;
const REST: Duration = Duration::from_mins(1);

pub(crate) async fn at_rest_nothing_is_written_but_the_lease(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let clients: Vec<Value> = (0..CLIENTS)
        .map(|n| fleet.client(&format!("rest-{n}"), json!({})))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": clients});
    let applied = Instant::now();
    stage.cluster.apply(&list.to_string()).await?;
    for n in 0..CLIENTS {
        stage.ready(&fleet.path("clients", &format!("rest-{n}")), READY).await?;
    }
    let took = applied.elapsed();
    // What is under way ends, namespaces that scenarios before this one deleted among it; nothing new begins.
    let nothing_goes = |list: &Value| {
        let mut namespaces = list["items"].as_array()?.iter();
        namespaces
            .all(|namespace| namespace["status"]["phase"] == "Active")
            .then_some(())
    };
    stage.until("/api/v1/namespaces", READY, nothing_goes).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let from = jiff::Timestamp::now();
    tokio::time::sleep(REST).await;
    let log = Log::read(&stage.cluster.audit_log())?;
    let user = Stage::operator().user();
    let requests = log.mutating_requests_between(from, jiff::Timestamp::now(), &user);
    let (renewals, others): (Vec<_>, Vec<_>) = requests.into_iter().partition(|request| {
        let is_own = |object: &e2e::audit::Object| {
            object.resource == "leases" && object.name.as_deref() == Some("nauthera-operator")
        };
        request.verb == "update" && request.object.as_ref().is_some_and(is_own)
    });
    let others: Vec<String> = others.into_iter().map(ToString::to_string).collect();
    ensure!(others.is_empty(), "{} writes at rest: {others:#?}", others.len());
    ensure!(
        renewals.len() >= 20,
        "only {} renewals of the lease: does the operator run?",
        renewals.len()
    );
    scenario("a minute at rest with 100 Clients more")
        .observed(format!("{} renewals of the lease and no other write", renewals.len()))
        .recovered_in(took)
}

pub(crate) async fn the_rights_of_the_chart_are_exactly_those_that_were_used(stage: &mut Stage) -> Result<()> {
    let mut objects = Vec::new();
    for plural in ["clusterroles", "clusterrolebindings", "roles", "rolebindings"] {
        let list = stage
            .get(&format!("/apis/rbac.authorization.k8s.io/v1/{plural}"))
            .await?;
        let kind = list["kind"]
            .as_str()
            .and_then(|kind| kind.strip_suffix("List"))
            .context("a list")?
            .to_owned();
        for mut object in list["items"].as_array().cloned().unwrap_or_default() {
            // Items of a list do not say what they are.
            object["kind"] = json!(kind);
            objects.push(object);
        }
    }
    let log = Log::read(&stage.cluster.audit_log())?.without(&stage.without_rights);
    let replay = replay(&log, &Stage::operator(), &objects)?;
    ensure!(replay.is_exact(), "{replay}");
    scenario("the audit log replayed against the chart's rights")
        .observed(format!(
            "{} kinds of access, none unused, none refused",
            replay.used.len()
        ))
        .nothing_to_recover()
}

pub(crate) async fn no_secret_is_in_any_log_event_status_or_audit_entry(stage: &mut Stage) -> Result<()> {
    stage.collect().await?;
    let logs = stage.pod_logs()?;
    ensure!(
        logs.iter().any(|(name, _)| name.contains("nauthera-operator")),
        "no log of an operator was kept"
    );
    ensure!(
        logs.iter().any(|(name, _)| name.contains(SHOP)),
        "no log of a server was kept"
    );
    let audit = std::fs::read_to_string(stage.cluster.audit_log())?;
    let mut texts: Vec<Text<'_>> = logs.iter().map(|(name, content)| Text { name, content }).collect();
    texts.push(Text {
        name: "audit log",
        content: &audit,
    });
    for (path, objects) in &stage.seen {
        texts.extend(objects.iter().map(|content| Text { name: path, content }));
    }
    let leaks = stage.secrets.find(&texts);
    ensure!(
        leaks.is_empty(),
        "{} secrets were seen:\n{}",
        leaks.len(),
        leaks
            .iter()
            .take(20)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    );
    let bytes: usize = texts.iter().map(|text| text.content.len()).sum();
    scenario("secret bytes looked for in everything that was printed")
        .observed(format!(
            "none of {} pieces in {} MB of logs, Events, statuses and audit entries",
            stage.secrets.pieces(),
            bytes / 1_000_000
        ))
        .nothing_to_recover()
}
