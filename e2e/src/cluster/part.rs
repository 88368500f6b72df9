//! One program of a cluster: started detached from whoever starts it, recorded in a file, so that
//! another process can find, kill, freeze and start it again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};

use crate::process::tail;

/// A program of a cluster, running or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    name: String,
    /// The whole command line, with what puts it into the cluster's network namespace.
    command: Vec<OsString>,
    log: PathBuf,
    record: PathBuf,
    process: Recorded,
}

/// A process id, and when that process started, so that a later process of the same id is not meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    pub(super) id: u32,
    pub(super) started: u64,
}

impl Recorded {
    /// The process that has this id now.
    pub(super) fn of(id: u32) -> Result<Self> {
        let started = start_time(id).with_context(|| format!("process {id} is gone"))?;
        Ok(Self { id, started })
    }

    /// Whether it still runs. One that ended counts as gone, also when nobody waited for it yet.
    pub(super) fn runs(self) -> bool {
        if let Some(pid) = self.pid() {
            // Only a child of this process can be waited for; of others this learns nothing.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        start_time(self.id) == Some(self.started)
    }

    /// Sends a signal, unless the process is gone.
    pub(super) fn signal(self, signal: Signal) -> Result<()> {
        if !self.runs() {
            return Ok(());
        }
        let pid = self.pid().context("process id 0")?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("signal to process {}", self.id)),
        }
    }

    /// Whether it is gone within `patience`.
    pub(super) fn gone_within(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.runs() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn pid(self) -> Option<Pid> {
        i32::try_from(self.id).ok().and_then(Pid::from_raw)
    }
}

/// When a process started, in clock ticks since boot; none when nothing of it runs any more.
fn start_time(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the name in parentheses, and may hold anything, also parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    // Its first thread alone may be dead, while the others still hold its ports.
    (threads > 1 || !matches!(state, "Z" | "X")).then_some(())?;
    fields.nth(1)?.parse().ok()
}

impl Part {
    /// Starts a command and records it in `folder`.
    pub(super) fn start(folder: &Path, name: &str, command: Vec<OsString>) -> Result<Self> {
        let (logs, records) = (folder.join("logs"), folder.join("parts"));
        fs::create_dir_all(&logs)?;
        fs::create_dir_all(&records)?;
        let mut part = Self {
            name: name.to_owned(),
            command,
            log: logs.join(format!("{name}.log")),
            record: records.join(format!("{name}.json")),
            process: Recorded { id: 0, started: 0 },
        };
        part.start_again()?;
        Ok(part)
    }

    /// The part of this name that is recorded in `folder`.
    pub(super) fn recorded(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join("parts").join(format!("{name}.json"));
        let text = fs::read(&path).with_context(|| format!("this cluster has no part {name}"))?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Every part that is recorded in `folder`.
    pub(super) fn all(folder: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(folder.join("parts")) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| serde_json::from_slice(&fs::read(entry.ok()?.path()).ok()?).ok())
            .collect()
    }

    /// Its name, for example `kube-apiserver`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id
    }

    /// Whether its process runs.
    pub fn runs(&self) -> bool {
        self.process.runs()
    }

    /// What it printed so far, over all its starts.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails, with the end of its output, when it does not run.
    pub fn expect_running(&self) -> Result<()> {
        if !self.runs() {
            bail!("{} ended:\n{}", self.name, tail(&self.output(), 30));
        }
        Ok(())
    }

    /// Starts it once more with the same command line. It must not run.
    pub fn start_again(&mut self) -> Result<()> {
        if self.runs() {
            bail!("{} runs already", self.name);
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let (program, arguments) = self.command.split_first().context("a command without a program")?;
        // A session of its own: the end of the terminal or of the test is not its end.
        let child = Command::new("setsid")
            .arg(program)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        self.process = Recorded::of(child.id()).with_context(|| format!("{} ended at once", self.name))?;
        fs::write(&self.record, serde_json::to_vec(self)?)?;
        Ok(())
    }

    /// Ends it politely, or after `patience` not, and starts it with further arguments, which stay.
    pub fn restart_with(&mut self, arguments: &[&str], patience: Duration) -> Result<()> {
        self.stop(patience)?;
        self.command.extend(arguments.iter().map(OsString::from));
        self.start_again()
    }

    /// Asks it to end; after `patience` it is killed.
    pub fn stop(&self, patience: Duration) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        if self.process.gone_within(patience) {
            return Ok(());
        }
        self.kill()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        if !self.process.gone_within(Duration::from_secs(10)) {
            bail!("{} cannot be killed", self.name);
        }
        Ok(())
    }

    /// Stops its execution, until `thaw`.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on after `freeze`.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Part {
        Part::start(folder, "sleeper", vec!["sleep".into(), "60".into()]).unwrap()
    }

    #[test]
    fn a_part_is_found_again_by_its_record_and_starts_again_once_it_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let first = sleeper(folder.path());
        let mut found = Part::recorded(folder.path(), "sleeper").unwrap();
        assert!(found.runs());
        assert!(found.start_again().is_err(), "it runs already");
        found.kill().unwrap();
        assert!(!first.runs());
        found.start_again().unwrap();
        assert!(found.runs() && !first.runs());
        found.stop(Duration::from_secs(5)).unwrap();
        assert!(found.expect_running().is_err());
    }

    #[test]
    fn a_process_that_has_the_id_of_an_earlier_one_is_not_that_one() {
        let folder = tempfile::tempdir().unwrap();
        let part = sleeper(folder.path());
        let earlier = Recorded {
            started: part.process.started - 1,
            ..part.process
        };
        assert!(!earlier.runs());
        earlier.signal(Signal::KILL).unwrap();
        assert!(part.runs());
        part.kill().unwrap();
    }
}
