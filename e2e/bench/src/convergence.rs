//! How fast an edit arrives: from the moment that a change is sent to a real API server until its status says that every
//! one of 50 connected servers serves it. And how long the operator compiles, with ever more objects.
//!
//! The end is what a user can see: the status is written after the last acknowledgement, so its write is in the time.

mod compile;
mod pods;
mod stage;
mod wire;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::growth::number;
use crate::pinned::{self, CpuPlan};
use crate::report::{Progress, Report, median, rounded};
use crate::server::Server;
use crate::settings::Settings;
use crate::{machine, plot};
use stage::{Changes, Stage};

/// Servers that are connected.
const SERVERS: usize = 50;
/// Clients, and the realms that they are spread over.
const CLIENTS: usize = 2_000;
const REALMS: usize = 20;
/// Edits that are measured.
const EDITS: usize = 60;
/// Edits before, for warm caches.
const FIRST_EDITS: usize = 3;
/// Between two edits: the operator commits once a second for long.
const APART: Duration = Duration::from_millis(1_300);
/// For thousands of objects to be judged, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);
/// What an edit may take before the measurement has failed.
const LONGEST: Duration = Duration::from_mins(1);
/// What it takes to get there.
const PREPARATION: Duration = Duration::from_mins(1);

/// Measures convergence and compile times, and writes the report and the plots.
pub fn run(settings: &Settings) -> Result<()> {
    let mut report = Report::load(&settings.out)?;
    report.machine = machine::facts();
    let cpus = CpuPlan::of_machine()?;
    let edits = APART * u32::try_from(EDITS + FIRST_EDITS)?;
    let mut progress = Progress::new(PREPARATION + edits + compile::TAKES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        progress.step("an operator with 2 000 clients and 50 servers", PREPARATION);
        let mut stage = Stage::start().await?;
        let servers = prepare(&mut stage, &cpus).await?;
        progress.step("edits, until every server has each", edits);
        measure(&stage, &servers, &mut report).await?;
        drop((servers, stage));
        report.save(&settings.out)?;
        progress.step("the operator with more and more objects", compile::TAKES);
        compile::measure(&mut report).await
    })?;
    report.save(&settings.out)?;
    plot::draw(&report, &settings.out)
}

/// Objects, then servers.
async fn prepare(stage: &mut Stage, cpus: &CpuPlan) -> Result<Vec<Server>> {
    stage.create("realms", stage::realms(0..REALMS)).await?;
    stage.create("clients", stage::clients(0..CLIENTS, REALMS)).await?;
    committed(stage, REALMS, CLIENTS).await?;
    let servers = pods::start(stage, SERVERS, &cpus.everything).await?;
    let last = format!("client-{}", CLIENTS - 1);
    stage
        .until("live everywhere", PATIENCE, async |stage| {
            let path = format!("/apis/auth.nauthera.io/v1alpha1/namespaces/bench/clients/{last}");
            Ok(stage.get(&path).await?.is_some_and(|client| is_live(&client)))
        })
        .await?;
    at_rest(stage).await?;
    Ok(servers)
}

/// Waits until so many realms and clients are committed, and everything about them is said.
async fn committed(stage: &mut Stage, realms: usize, clients: usize) -> Result<()> {
    let wanted = [realms as u64, clients as u64];
    stage
        .until("committed", PATIENCE, async |stage| {
            let Some(secret) = stage.get("/api/v1/namespaces/bench/secrets/main-config").await? else {
                return Ok(false);
            };
            let counts = pods::manifest(&secret)?.counts;
            Ok([u64::from(counts.realms), u64::from(counts.clients)] == wanted)
        })
        .await?;
    at_rest(stage).await
}

/// Waits until the operator asks nothing of the API server any more, the upkeep of its Lease aside.
async fn at_rest(stage: &mut Stage) -> Result<()> {
    let mut before = f64::NAN;
    stage
        .until("at rest", PATIENCE, async |stage| {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let requests = stage.metric("nauthera_operator_api_requests_total", "")?;
            let rests = requests.total_cmp(&before).is_eq();
            before = requests;
            Ok(rests)
        })
        .await
}

/// What 50 servers and one operator did while edits were made.
async fn measure(stage: &Stage, servers: &[Server], report: &mut Report) -> Result<()> {
    let mut changes = stage.watch_clients().await?;
    for edit in 0..FIRST_EDITS {
        one(stage, &mut changes, edit).await?;
        tokio::time::sleep(APART).await;
    }
    let before = Marks::now(stage, servers)?;
    let mut took = Vec::new();
    for edit in FIRST_EDITS..FIRST_EDITS + EDITS {
        let next = Instant::now() + APART;
        took.push(one(stage, &mut changes, edit).await?);
        tokio::time::sleep_until(next.into()).await;
    }
    let after = Marks::now(stage, servers)?;
    let edits = number(EDITS as u64);
    let per_server = edits * number(servers.len() as u64);
    took.sort_by(f64::total_cmp);
    for (name, value) in [
        ("servers", number(servers.len() as u64)),
        ("clients", number(CLIENTS as u64)),
        ("edits", edits),
        ("median_ms", median(&took)),
        ("p99_ms", quantile(&took, 0.99)),
        ("slowest_ms", took.last().copied().unwrap_or_default()),
        ("operator_mean_ms", before.mean_ms(&after)),
        (
            "resource_bytes_per_server",
            (after.resource_bytes - before.resource_bytes) / per_server,
        ),
        (
            "stream_bytes_per_server",
            (after.stream_bytes - before.stream_bytes) / per_server,
        ),
        (
            "operator_cpu_ms_per_edit",
            (after.operator_cpu_ms - before.operator_cpu_ms) / edits,
        ),
        (
            "server_cpu_ms_per_edit",
            (after.servers_cpu_ms - before.servers_cpu_ms) / per_server,
        ),
        ("server_rss_mib", servers_rss(servers)? / f64::from(1 << 20)),
    ] {
        report.convergence.insert(name.to_owned(), rounded(value));
    }
    let share = |(at, ms): (usize, &f64)| (*ms, number(at as u64 + 1) / edits * 100.0);
    report.growth.insert(
        "convergence_percent_by_ms".to_owned(),
        took.iter().enumerate().map(share).collect(),
    );
    Ok(())
}

/// Edits one client, and waits until its status says that every server has it. Milliseconds.
async fn one(stage: &Stage, changes: &mut Changes, edit: usize) -> Result<f64> {
    let client = format!("client-{}", edit * 31 % CLIENTS);
    let began = Instant::now();
    let edited = stage.edit(&client, &format!("Edited {edit}")).await?;
    let generation = edited.pointer("/metadata/generation").and_then(Value::as_i64);
    let arrived = async {
        loop {
            let seen = changes.next().await?;
            if seen.pointer("/metadata/name").and_then(Value::as_str) == Some(&client)
                && seen.pointer("/metadata/generation").and_then(Value::as_i64) == generation
                && is_live(&seen)
            {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(LONGEST, arrived)
        .await
        .with_context(|| format!("{client} is not live after {LONGEST:?}"))??;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// Whether the status says that every ready replica serves the newest version of the object.
fn is_live(object: &Value) -> bool {
    let generation = object.pointer("/metadata/generation");
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let is = |condition: &&Value| {
        condition.get("type").and_then(Value::as_str) == Some("Programmed")
            && condition.get("status").and_then(Value::as_str) == Some("True")
            && condition.get("observedGeneration") == generation
    };
    conditions.into_iter().flatten().any(|condition| is(&condition))
}

/// Counters at one moment.
struct Marks {
    convergence_seconds: f64,
    convergences: f64,
    resource_bytes: f64,
    stream_bytes: f64,
    operator_cpu_ms: f64,
    servers_cpu_ms: f64,
}

impl Marks {
    fn now(stage: &Stage, servers: &[Server]) -> Result<Self> {
        let mut servers_cpu_ms = 0.0;
        for server in servers {
            servers_cpu_ms += server.program().cpu_time()?.as_secs_f64() * 1e3;
        }
        Ok(Self {
            convergence_seconds: stage.metric("nauthera_operator_convergence_seconds_sum", "")?,
            convergences: stage.metric("nauthera_operator_convergence_seconds_count", "")?,
            resource_bytes: stage.metric("nauthera_operator_update_bytes", "")?,
            stream_bytes: wire::bytes_sent(stage.config_port())?,
            operator_cpu_ms: pinned::cpu_time(stage.operator())?.as_secs_f64() * 1e3,
            servers_cpu_ms,
        })
    }

    /// The mean of what the operator itself measured since.
    fn mean_ms(&self, after: &Self) -> f64 {
        let count = after.convergences - self.convergences;
        (after.convergence_seconds - self.convergence_seconds) / count.max(1.0) * 1e3
    }
}

fn servers_rss(servers: &[Server]) -> Result<f64> {
    let mut sizes = Vec::new();
    for server in servers {
        sizes.push(number(server.program().memory()?.resident));
    }
    ensure!(!sizes.is_empty(), "no servers");
    Ok(median(&sizes))
}

/// The smallest of the sorted values that this share of them does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let reached = |at: usize| number(at as u64 + 1) >= share * number(sorted.len() as u64);
    let found = sorted.iter().enumerate().find(|(at, _)| reached(*at));
    found.map_or(0.0, |(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn live_is_what_the_status_says_of_the_newest_version() {
        let object = |status: &str, observed: i64| {
            let condition = json!({"type": "Programmed", "status": status, "observedGeneration": observed});
            json!({"metadata": {"generation": 3}, "status": {"conditions": [condition]}})
        };
        assert!(is_live(&object("True", 3)));
        assert!(!is_live(&object("True", 2)));
        assert!(!is_live(&object("False", 3)));
        assert!(!is_live(&json!({"metadata": {"generation": 3}})));
    }

    #[test]
    fn a_quantile_is_a_value_that_occurred() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 0.5), quantile(&hundred, 0.99)), (50.0, 99.0));
        assert_eq!((quantile(&[7.0], 0.99), quantile(&[], 0.5)), (7.0, 0.0));
    }
}
