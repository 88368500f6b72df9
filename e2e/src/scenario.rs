//! What a scenario showed, for the table that closes a test run: scenario → observed → recovered in.
//!
//! A test records when its oracles have held; one that fails before is named by the runner instead.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::parts::checkout;

/// A scenario that is being described.
#[derive(Debug)]
#[must_use = "a scenario is recorded by `recovered_in` or `nothing_to_recover`"]
pub struct Scenario {
    name: String,
    observed: Vec<String>,
    file: PathBuf,
}

/// Begins the line of the scenario of this name.
pub fn scenario(name: &str) -> Scenario {
    Scenario {
        name: name.to_owned(),
        observed: Vec::new(),
        file: checkout().join("target/scenarios.jsonl"),
    }
}

impl Scenario {
    /// Adds what was seen, in a few words.
    pub fn observed(mut self, what: impl Into<String>) -> Self {
        self.observed.push(what.into());
        self
    }

    /// Records it, with the time from the end of the fault (or from the edit) to the last oracle that held.
    pub fn recovered_in(self, duration: Duration) -> Result<()> {
        self.record(Some(duration))
    }

    /// Records a scenario without a fault.
    pub fn nothing_to_recover(self) -> Result<()> {
        self.record(None)
    }

    fn record(self, recovered: Option<Duration>) -> Result<()> {
        let line = json!({
            "scenario": self.name,
            "observed": self.observed.join("; "),
            "recovered_seconds": recovered.map(|recovered| recovered.as_secs_f64()),
        });
        append(&self.file, &line.to_string())
    }
}

/// One write, so that tests which run at the same time do not tear each other's lines.
fn append(file: &Path, line: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut output = File::options()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| file.display().to_string())?;
    output.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |name: &str| Scenario {
            file: folder.path().join("target/scenarios.jsonl"),
            ..scenario(name)
        };
        begin("a pod is killed")
            .observed("no login lost")
            .observed("pod back")
            .recovered_in(Duration::from_millis(1500))
            .unwrap();
        begin("samples").observed("Ready").nothing_to_recover().unwrap();
        let text = std::fs::read_to_string(folder.path().join("target/scenarios.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                json!({"scenario": "a pod is killed", "observed": "no login lost; pod back", "recovered_seconds": 1.5}),
                json!({"scenario": "samples", "observed": "Ready", "recovered_seconds": null}),
            ]
        );
    }
}
