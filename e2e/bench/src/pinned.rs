//! Programs on cores of their own, and what they use: CPU time, memory and threads, as `/proc` has them.
//!
//! The server under test and its ceiling get core 0, the load generator gets core 1. A database is on the cores that are
//! left; with two cores it shares the client's, so that nothing but the server itself is ever on the server's.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::memory::Memory;
use e2e::process::Process;
use rustix::param::clock_ticks_per_second;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Cores by number, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

/// Which cores each part of a measurement gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuPlan {
    /// One core: the server under test, or its ceiling.
    pub server: Cpus,
    /// One core: the load generator.
    pub client: Cpus,
    /// The rest, or the client's.
    pub database: Cpus,
    /// All of them.
    pub everything: Cpus,
}

impl CpuPlan {
    /// The plan for the cores that this process may use now. Ask before pinning anything.
    pub fn of_machine() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("the cores of this process")?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        Self::of(&cores).context("this process may use no core")
    }

    fn of(cores: &[usize]) -> Option<Self> {
        let server = *cores.first()?;
        let client = cores.get(1).copied().unwrap_or(server);
        let rest = cores.get(2..).unwrap_or_default();
        Some(Self {
            server: Cpus(vec![server]),
            client: Cpus(vec![client]),
            database: Cpus(if rest.is_empty() { vec![client] } else { rest.to_vec() }),
            everything: Cpus(cores.to_vec()),
        })
    }
}

impl Cpus {
    /// In the form that `taskset` takes.
    pub fn list(&self) -> String {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        numbers.join(",")
    }

    /// Keeps the calling thread, and every thread and program that it starts from now on, on these cores.
    pub fn hold_this_thread(&self) -> Result<()> {
        let mut set = CpuSet::new();
        for core in &self.0 {
            set.set(*core);
        }
        sched_setaffinity(None, &set).with_context(|| format!("pinning to core {}", self.list()))
    }
}

/// A running program on given cores. Dropping it stops it.
#[derive(Debug)]
pub struct Pinned {
    process: Process,
}

impl Pinned {
    /// Starts `program` on `cpus`, its output appended to `log`. From the first instruction on it sees only these cores.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        cpus: &Cpus,
        log: &Path,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(name, &command, cpus, log)
    }

    /// Starts a command as prepared on `cpus`.
    pub fn spawn(name: &str, prepared: &Command, cpus: &Cpus, log: &Path) -> Result<Self> {
        // It replaces itself by the program, so the process id is the program's.
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", &cpus.list()])
            .arg(prepared.get_program())
            .args(prepared.get_args());
        for (variable, value) in prepared.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        Ok(Self {
            process: Process::spawn(name, &command, log)?,
        })
    }

    /// The process itself.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// CPU time since its start, user and system, of all its threads.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.id())
    }

    /// What it has in memory now.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.id())
    }

    /// How many threads it has now.
    pub fn threads(&self) -> Result<u64> {
        let status = read(self.id(), "status")?;
        field(&status, "Threads").context("no Threads in /proc/PID/status")
    }
}

/// How many threads of a process have a name that begins so.
pub fn threads_named(process: u32, prefix: &str) -> Result<usize> {
    let mut count = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end while we look.
        let name = std::fs::read_to_string(thread?.path().join("comm")).unwrap_or_default();
        count += usize::from(name.starts_with(prefix));
    }
    Ok(count)
}

/// CPU time of a process since its start, user and system, in steps of 10 ms.
pub fn cpu_time(process: u32) -> Result<Duration> {
    let stat = read(process, "stat")?;
    let ticks = ticks(&stat).context("no times in /proc/PID/stat")?;
    Ok(Duration::from_millis(ticks * 1000 / clock_ticks_per_second().max(1)))
}

fn read(process: u32, file: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{process}/{file}")).with_context(|| format!("{file} of process {process}"))
}

/// utime + stime of a line of `/proc/PID/stat` (proc(5)): the 14th and 15th field. The second, the program's name, may
/// hold anything, blanks and parentheses too.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The number of a line `Name:  123 kB`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_program_name() {
        let stat = "42 (a (b) c) R 1 42 42 0 -1 4194304 100 0 0 0 70 30 0 0 20 0 3 0 100 1 1";
        assert_eq!(ticks(stat), Some(100));
        assert_eq!(ticks("42"), None);
    }

    #[test]
    fn two_cores_are_shared_so_that_the_server_has_its_own() {
        let plan = CpuPlan::of(&[0, 1]).unwrap();
        assert_eq!(
            (plan.server.list(), plan.client.list(), plan.database.list()),
            ("0".into(), "1".into(), "1".into())
        );
        assert_eq!(CpuPlan::of(&[2, 4, 6, 7]).unwrap().database.list(), "6,7");
        assert_eq!(CpuPlan::of(&[3]).unwrap().client.list(), "3");
        assert_eq!(CpuPlan::of(&[]), None);
    }

    #[test]
    fn a_pinned_program_keeps_its_core_and_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let plan = CpuPlan::of_machine().unwrap();
        let end = folder.path().join("end");
        let script = format!(
            "while [ ! -e {} ]; do :; done; grep Cpus_allowed_list /proc/self/status",
            end.display()
        );
        let log = folder.path().join("log");
        let shell = Path::new("/bin/sh");
        let mut shell = Pinned::start("shell", shell, ["-c", &script], &plan.server, &log).unwrap();
        assert!(shell.memory().is_ok_and(|memory| memory.resident > 0));
        assert_eq!(shell.threads().unwrap(), 1);
        while shell.cpu_time().unwrap() < Duration::from_millis(20) {
            shell.process().expect_running().unwrap();
            std::thread::yield_now();
        }
        std::fs::write(end, "").unwrap();
        shell.process().wait(Duration::from_secs(30)).unwrap();
        assert!(
            shell
                .process()
                .output()
                .contains(&format!("\t{}\n", plan.server.list()))
        );
    }
}
