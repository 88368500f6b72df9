//! People who sign in all the time, so that a lost login shows.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::process::Process;
use e2e::relying_party::RelyingParty;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::stage::Stage;

/// A running loop of logins. It ends with the value.
pub(crate) struct Logins {
    process: Process,
    _folder: tempfile::TempDir,
}

impl Logins {
    /// Starts it, with the fleet's client unless `more` says otherwise, and waits for the first login.
    pub(crate) async fn start(stage: &Stage, fleet: &Fleet, more: Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut settings = fleet.settings(9);
        settings["pause"] = json!(150);
        if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
            settings.extend(more);
        }
        let mut command = stage.inside(&RelyingParty::LoginLoop.command_line()?)?;
        command.env("RELYING_PARTY", settings.to_string());
        let process = Process::spawn("logins", &command, &folder.path().join("log"))?;
        let mut logins = Self {
            process,
            _folder: folder,
        };
        logins.more(1).await?;
        Ok(logins)
    }

    /// How many succeeded, and what was said about those that did not.
    pub(crate) fn so_far(&self) -> (usize, Vec<String>) {
        let output = self.process.output();
        let succeeded = output.lines().filter(|line| line.starts_with("ok ")).count();
        let failed = output
            .lines()
            .filter(|line| !line.starts_with("ok "))
            .map(str::to_owned);
        (succeeded, failed.collect())
    }

    /// Waits until so many more succeeded.
    pub(crate) async fn more(&mut self, count: usize) -> Result<()> {
        let wanted = self.so_far().0 + count;
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.so_far().0 < wanted {
            self.process.expect_running()?;
            ensure!(
                Instant::now() < deadline,
                "no login within a minute: {:?}",
                self.so_far().1
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Ends it and fails if one login was lost; returns how many there were.
    pub(crate) fn none_lost(mut self) -> Result<usize> {
        self.process.stop(Duration::from_secs(20))?;
        let (succeeded, failed) = self.so_far();
        ensure!(
            failed.is_empty(),
            "{} of {} logins were lost: {failed:#?}",
            failed.len(),
            succeeded + failed.len()
        );
        Ok(succeeded)
    }

    /// Ends it; returns how many succeeded and how many did not.
    pub(crate) fn stop(mut self) -> Result<(usize, usize)> {
        self.process.stop(Duration::from_secs(20))?;
        let (succeeded, failed) = self.so_far();
        Ok((succeeded, failed.len()))
    }
}

/// Runs a relying party inside the cluster's network.
pub(crate) fn relying_party(
    stage: &Stage,
    party: RelyingParty,
    name: &str,
    settings: &Value,
    at_least: usize,
) -> Result<()> {
    party.run_by(stage.inside(&party.command_line()?)?, name, settings, at_least)
}

/// Chromium's arguments for the cluster: its names, and the certificate of its ingress.
pub(crate) fn browser_arguments(stage: &Stage) -> Result<Value> {
    // Hash of the public key of the certificate that the ingress shows.
    const SCRIPT: &str = "openssl s_client -connect \"$1:443\" -servername any.nauthera.test </dev/null 2>/dev/null \
        | openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
    let address = stage.cluster.address();
    let output = stage
        .cluster
        .command(Path::new("sh"))?
        .args(["-c", SCRIPT, "sh", address])
        .output()?;
    let key = String::from_utf8(output.stdout).context("hash of the ingress's key")?;
    Ok(json!([
        format!("--host-resolver-rules=MAP *.nauthera.test {address}"),
        format!("--ignore-certificate-errors-spki-list={}", key.trim()),
    ]))
}
