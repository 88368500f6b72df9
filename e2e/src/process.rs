//! A program under test, or one that a test needs: its output in a file, its end guaranteed.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running program. Dropping it stops it: politely first, then not.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a polite stop may take before the program is killed.
const GRACE: Duration = Duration::from_secs(5);

impl Process {
    /// Starts `program` with both output streams appended to `log`. The kernel kills it when the
    /// thread that started it ends, so start it from the test's own thread.
    pub fn start<I, A>(name: &str, program: &Path, arguments: I, log: &Path) -> Result<Self>
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(name, &command, log)
    }

    /// Starts a command as prepared (environment, working directory); its streams are replaced.
    pub fn spawn(name: &str, prepared: &Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .context("log file")?;
        // setpriv sets the parent-death signal, which takes unsafe code to set from here.
        let mut command = Command::new("setpriv");
        command
            .arg("--pdeathsig=KILL")
            .arg("--")
            .arg(prepared.get_program())
            .args(prepared.get_args());
        for (variable, value) in prepared.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        if let Some(folder) = prepared.get_current_dir() {
            command.current_dir(folder);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its exit status, or none while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails, with the end of its output, when it is not running any more.
    pub fn expect_running(&mut self) -> Result<()> {
        if let Some(status) = self.exited()? {
            bail!("{} ended with {status}:\n{}", self.name, tail(&self.output(), 30));
        }
        Ok(())
    }

    /// Sends a signal, for example `Signal::STOP` to freeze it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id())?;
        kill_process(Pid::from_raw(id).context("process id 0")?, signal)
            .with_context(|| format!("signal to {}", self.name))
    }

    /// Asks it to end and waits at most `patience`; fails when it is still there.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        if self.exited()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        self.wait(patience)
    }

    /// Waits at most `patience` for its end; fails when it is still there.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} did not end within {patience:?}:\n{}",
                    self.name,
                    tail(&self.output(), 30)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stop(GRACE).is_err() {
            // Nothing is left to do about a process that cannot even be killed.
            let _ = self.kill();
        }
    }
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        Process::start("shell", Path::new("/bin/sh"), ["-c", script], &folder.join("log")).unwrap()
    }

    #[test]
    fn a_process_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 60", folder.path());
        let alive = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(alive.exists());
        drop(process);
        assert!(!alive.exists());
    }

    #[test]
    fn a_process_that_ended_shows_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo the reason >&2; exit 3", folder.path());
        process.child.wait().unwrap();
        let error = process.expect_running().unwrap_err().to_string();
        assert!(error.contains("the reason") && error.contains('3'), "{error}");
    }
}
