//! Runs the programs of `e2e/relying-parties`, which print one line for each thing they checked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::parts::{checkout, program};

/// A program that nobody here wrote the protocol of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelyingParty {
    /// npm `openid-client`.
    OpenidClient,
    /// PyPI `authlib` and `joserfc`.
    Authlib,
    /// Headless Chromium, driven by npm `playwright-core` and judged by `axe-core`.
    Browser,
    /// npm `openid-client`, which signs in again and again until it is told to end.
    LoginLoop,
    /// npm `openid-client`, which hands out the ID token that it got.
    IdToken,
}

impl RelyingParty {
    const fn script(self) -> &'static str {
        match self {
            Self::OpenidClient => "openid-client.mjs",
            Self::Authlib => "authlib_client.py",
            Self::Browser => "browser.mjs",
            Self::LoginLoop => "login-loop.mjs",
            Self::IdToken => "id-token.mjs",
        }
    }

    fn command(self) -> Result<Command> {
        let mut command = Command::new(self.interpreter()?);
        command.arg(folder().join(self.script()));
        Ok(command)
    }

    fn interpreter(self) -> Result<PathBuf> {
        match self {
            Self::OpenidClient | Self::Browser | Self::LoginLoop | Self::IdToken => Ok(PathBuf::from("node")),
            Self::Authlib => program("NAUTHERA_PYTHON"),
        }
    }

    /// Its command line, for a command that runs it somewhere else (`run_by`).
    pub fn command_line(self) -> Result<[PathBuf; 2]> {
        Ok([self.interpreter()?, folder().join(self.script())])
    }

    /// Runs it with these settings. Its lines are kept below `target/checks` under `name`, for the
    /// summary of the run; a line `not ok …` or fewer than `at_least` checks fail.
    pub fn run(self, name: &str, settings: &Value, at_least: usize) -> Result<()> {
        self.run_by(self.command()?, name, settings, at_least)
    }

    /// The same by a prepared command, which has its command line at the end.
    pub fn run_by(self, mut command: Command, name: &str, settings: &Value, at_least: usize) -> Result<()> {
        let output = command
            .env("RELYING_PARTY", settings.to_string())
            .output()
            .context(self.script())?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let kept = checkout().join("target/checks");
        std::fs::create_dir_all(&kept)?;
        std::fs::write(kept.join(format!("{name}.txt")), &printed)?;
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} ended with {}:\n{printed}{complaints}",
            self.script(),
            output.status
        );
        let checks = printed.lines().filter(|line| line.starts_with("ok ")).count();
        ensure!(
            checks >= at_least,
            "{} made only {checks} checks:\n{printed}",
            self.script()
        );
        Ok(())
    }
}

/// Makes a P-256 key with authlib, writes the private key to `file` and returns the public JWK Set.
pub fn new_key(file: &Path) -> Result<Value> {
    let output = RelyingParty::Authlib.command()?.arg("new-key").arg(file).output()?;
    ensure!(
        output.status.success(),
        "new-key: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where pictures of pages are kept.
pub fn screenshots() -> Result<PathBuf> {
    let folder = checkout().join("target/screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn folder() -> PathBuf {
    checkout().join("e2e/relying-parties")
}
