//! Times of a quiet fleet with two servers. They are told in the table of the run and judged by nobody but its reader,
//! for they depend on what else the machine does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::scenario;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::path::SHOP;
use crate::stage::{API, OPERATOR_NAMESPACE, READY, Stage, condition, is_current};

const OPERATOR: &str = "app.kubernetes.io/component=operator";

/// Edits that are timed.
const EDITS: usize = 21;

/// Between two edits: slower than the bucket of commits is filled again.
const PAUSE: Duration = Duration::from_millis(1100);

/// How long the operator waits for quiet after a change.
const DEBOUNCE: Duration = Duration::from_millis(100);

pub(crate) async fn twenty_edits_of_a_client_are_timed_until_they_are_live_and_reported(
    stage: &mut Stage,
) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let path = fleet.path("clients", "timed");
    stage
        .cluster
        .apply(&fleet.client("timed", json!({})).to_string())
        .await?;
    stage.ready(&path, READY).await?;
    let mut watch = Watch::start(stage, "timed").await?;
    let mut times = Vec::new();
    for edit in 0..EDITS {
        tokio::time::sleep(PAUSE).await;
        let started = Instant::now();
        let edited = stage
            .merge(&path, &json!({"spec": {"displayName": format!("Timed {edit}")}}))
            .await?;
        let generation = &edited["metadata"]["generation"];
        let is_live = |object: &Value| object["metadata"]["generation"] == *generation && is_current(object, "Ready");
        let object = watch.until(is_live).await?;
        times.push(started.elapsed());
        let (_, _, message) = condition(&object, "Programmed").context("no condition Programmed")?;
        ensure!(message.starts_with("live on every ready replica"), "{message}");
    }
    stage.delete(&path).await?;
    times.sort();
    let of = |percent: usize| {
        let time = times.get((times.len() * percent / 100).min(times.len() - 1));
        time.copied().unwrap_or_default()
    };
    let beyond = |time: Duration| time.saturating_sub(DEBOUNCE).as_millis();
    scenario("an edit of a Client, until both servers have it and its status says so")
        .observed(format!(
            "beyond the debounce of {} ms: median {} ms, p90 {} ms, slowest {} ms of {EDITS}",
            DEBOUNCE.as_millis(),
            beyond(of(50)),
            beyond(of(90)),
            beyond(of(100)),
        ))
        .recovered_in(of(50))
}

/// Its container is started again in the same pod, which servers dial again.
pub(crate) async fn an_operator_that_died_streams_again_soon(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let servers = fleet.pods(stage).await?;
    let pods = stage.pods(OPERATOR_NAMESPACE, OPERATOR).await?;
    let (pod, (uid, _)) = pods.iter().next().context("no operator")?;
    let former = Stage::processes(uid)?;
    let died = Instant::now();
    for process in &former {
        kill_process(Pid::from_raw(*process).context("process 0")?, Signal::KILL)?;
    }
    let deadline = died + READY;
    // The log of a container begins anew with it.
    let (process, connected) = loop {
        let started = Stage::processes(uid).unwrap_or_default();
        let started = started.into_iter().find(|process| !former.contains(process));
        let log = ["-n", OPERATOR_NAMESPACE, "logs", pod, "--timestamps"];
        if let Some(process) = started
            && let Ok(log) = stage.cluster.kubectl(&log).await
            && let Some(line) = log.lines().find(|line| line.contains("server connected"))
        {
            let (time, _) = line.split_once(' ').context("a line without a time")?;
            break (process, time.parse::<jiff::Timestamp>()?);
        }
        ensure!(Instant::now() < deadline, "no server streams from the new operator");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let took = connected.duration_since(start_of(process)?);
    let recovered = died.elapsed();
    ensure!(fleet.pods(stage).await? == servers, "a server was restarted");
    stage.operators(2).await?;
    scenario("an operator killed and started again by its kubelet")
        .observed(format!(
            "first stream {} ms after its process began; no server restarted",
            took.as_millis()
        ))
        .recovered_in(recovered)
}

/// When a process began, to a hundredth of a second.
fn start_of(process: i32) -> Result<jiff::Timestamp> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold anything; the 22nd field is the 20th after it.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks: u64 = fields.split_whitespace().nth(19).context("no start")?.parse()?;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split(' ').next().context("no uptime")?.parse()?;
    let began = Duration::from_millis(ticks * 10);
    let age = Duration::from_secs_f64(uptime).saturating_sub(began);
    Ok(jiff::Timestamp::now() - jiff::SignedDuration::try_from(age)?)
}

/// A watch of one Client.
struct Watch {
    answer: reqwest::Response,
    buffer: Vec<u8>,
}

impl Watch {
    async fn start(stage: &Stage, name: &str) -> Result<Self> {
        let url = format!(
            "{}{API}/namespaces/{SHOP}/clients?watch=true&fieldSelector=metadata.name%3D{name}",
            stage.cluster.url()
        );
        let request = stage.cluster.client().get(url).timeout(READY);
        let answer = request.send().await?.error_for_status()?;
        Ok(Self {
            answer,
            buffer: Vec::new(),
        })
    }

    /// The first state of it, of those that are still to come, that is as wanted.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line)?;
                let object = event["object"].take();
                if wanted(&object) {
                    return Ok(object);
                }
            }
            let chunk = self.answer.chunk().await?.context("the watch has ended")?;
            self.buffer.extend(chunk);
        }
    }
}
