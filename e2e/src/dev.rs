//! `nauthera-operator dev` on a folder of YAML: the operator and its auth servers on one machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::parts::{http_client, product};
use crate::process::{Process, tail};

/// How long the first configuration may take to be served, in a debug build on a loaded machine.
const START: Duration = Duration::from_mins(1);

/// A running `dev`. Dropping it stops the operator and everything it started.
#[derive(Debug)]
pub struct Dev {
    process: Process,
    work: TempDir,
}

impl Dev {
    /// Writes the manifests into a folder of their own, starts `dev` on it with the servers at `port`
    /// of loopback, and waits until `ready` (the discovery document of an issuer) is answered.
    pub async fn start(manifests: &[(String, String)], port: u16, ready: &str) -> Result<Self> {
        let work = tempfile::Builder::new().prefix("nauthera-dev.").tempdir()?;
        let folder = work.path().join("manifests");
        std::fs::create_dir(&folder)?;
        for (name, text) in manifests {
            std::fs::write(folder.join(name), text)?;
        }
        let arguments = [
            "dev".to_owned(),
            folder.display().to_string(),
            format!("--listen=127.0.0.1:{port}"),
            format!("--state-dir={}", work.path().join("state").display()),
        ];
        let log = work.path().join("dev.log");
        let process = Process::start("nauthera-operator dev", &product("nauthera-operator")?, arguments, &log)?;
        let mut dev = Self { process, work };
        let client = http_client()?;
        let deadline = Instant::now() + START;
        while !client
            .get(ready)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            dev.process.expect_running()?;
            if Instant::now() > deadline {
                bail!(
                    "{ready} is not served after {START:?}:\n{}",
                    tail(&dev.process.output(), 60)
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(dev)
    }

    /// Replaces one manifest at a stroke, as an editor does.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let part = self.work.path().join("part");
        std::fs::write(&part, text)?;
        std::fs::rename(part, self.folder().join(name))?;
        Ok(())
    }

    /// The watched folder.
    pub fn folder(&self) -> PathBuf {
        self.work.path().join("manifests")
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Waits until it printed all of `words` on one line.
    pub async fn says(&mut self, words: &[&str], within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self
            .output()
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
        {
            self.process.expect_running()?;
            ensure!(
                Instant::now() < deadline,
                "no line with {words:?} in:\n{}",
                tail(&self.output(), 60)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The process ids of the auth servers that it started.
    pub fn servers(&self) -> Result<Vec<i32>> {
        let id = self.process.id();
        let mut servers = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(process) = path.file_name().and_then(|name| name.to_str()?.parse::<i32>().ok()) else {
                continue;
            };
            if parent(&path) == Some(id) && command_line(&path).contains("nauthera-auth") {
                servers.push(process);
            }
        }
        Ok(servers)
    }

    /// Presses Ctrl-C and waits for its end.
    pub fn interrupt(&mut self) -> Result<std::process::ExitStatus> {
        self.process.signal(Signal::INT)?;
        self.process.wait(Duration::from_secs(30))
    }
}

fn parent(process: &Path) -> Option<u32> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

fn command_line(process: &Path) -> String {
    std::fs::read_to_string(process.join("cmdline")).unwrap_or_default()
}
