//! The auth-server processes of `dev`: started behind one shared address, probed, restarted, stopped.
//!
//! They are in process groups of their own and log into files, so that they outlive an operator that is killed; the
//! next run finds them by their command lines and stops them first.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use uuid::Uuid;

use super::http;

/// How long a server may take to finish what it does.
const DRAIN: Duration = Duration::from_secs(5);

/// A probe that takes longer counts as failed.
const PROBE: Duration = Duration::from_millis(900);

/// So many probes in a row without an answer make a server unready.
const MISSES: u32 = 3;

/// Name of the file with a server's token.
pub(super) const TOKEN_FILE: &str = "token";

/// A server that dies sooner than this after its start is restarted with a growing pause.
const STABLE: Duration = Duration::from_secs(10);

/// Longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A program that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The program of the auth servers is not where it should be.
    #[error("{} is missing: build it with `cargo build --workspace --bins`", .0.display())]
    NoProgram(PathBuf),
    /// It cannot be started.
    #[error("cannot run {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("`nauthera-auth {command}` failed: {output}")]
    Failed {
        /// What it was asked to do.
        command: &'static str,
        /// What it said.
        output: String,
    },
    /// A port that everybody is to find the servers at.
    #[error("{address} is in use by another program: stop it, or choose another address with --listen")]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// A file of a server cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What all servers have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) program: PathBuf,
    pub(super) shared: Vec<SocketAddr>,
    pub(super) database: PathBuf,
    pub(super) config: PathBuf,
    pub(super) operator: SocketAddr,
    pub(super) fleet: String,
    pub(super) max_staleness: String,
}

/// One server process, and the next one after it dies.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) uid: String,
    pub(super) folder: PathBuf,
    pub(super) own: SocketAddr,
    pub(super) health: SocketAddr,
    pub(super) is_ready: bool,
    child: Option<Child>,
    /// Probes in a row that nobody answered.
    missed: u32,
    /// Length of the log when the process was started.
    log_start: u64,
    started: Instant,
    not_before: Instant,
    quick_deaths: u32,
}

/// What came of looking after a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It is as before.
    None,
    /// It has become ready.
    Ready,
    /// It died, and will be restarted after the pause.
    Died {
        status: String,
        pause: Duration,
        last_words: Option<String>,
    },
}

impl Common {
    /// The program of the auth servers, beside this one.
    pub(super) fn find_program() -> Result<PathBuf, ServerError> {
        let own = std::env::current_exe().unwrap_or_default();
        let program = own.with_file_name("nauthera-auth");
        if program.is_file() {
            Ok(program)
        } else {
            Err(ServerError::NoProgram(program))
        }
    }

    fn database_url(&self) -> String {
        format!("sqlite://{}", self.database.display())
    }

    /// Brings the database to the schema of the servers.
    pub(super) async fn migrate(&self) -> Result<(), ServerError> {
        self.run("migrate", &["migrate"], "").await.map(drop)
    }

    /// Adds a person to a realm, unless there is one of that name.
    pub(super) async fn ensure_person(&self, issuer: &str, person: &super::Person) -> Result<(), ServerError> {
        let list = self
            .run(
                "user list",
                &["user", "list", "--issuer", issuer, "--output", "json"],
                "",
            )
            .await?;
        let people: serde_json::Value = serde_json::from_str(&list).unwrap_or_default();
        let is_known = people.as_array().into_iter().flatten().any(|known| {
            let name = known.get("username").or_else(|| known.get("preferred_username"));
            name.and_then(serde_json::Value::as_str) == Some(person.username)
        });
        if is_known {
            return Ok(());
        }
        let arguments = [
            "user",
            "create",
            "--issuer",
            issuer,
            "--username",
            person.username,
            "--email",
            person.email,
            "--name",
            person.name,
            "--given-name",
            person.given_name,
            "--family-name",
            person.family_name,
            "--password-stdin",
        ];
        self.run("user create", &arguments, person.password).await.map(drop)
    }

    async fn run(&self, command: &'static str, arguments: &[&str], input: &str) -> Result<String, ServerError> {
        use tokio::io::AsyncWriteExt as _;
        let spawn = |source| ServerError::Spawn {
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .args(arguments)
            .args(["--database-url", &self.database_url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads no input has closed its end.
            let _ = stdin.write_all(format!("{input}\n").as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(spawn)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ServerError::Failed { command, output: text })
    }
}

/// The addresses that people use, checked to be free. With 127.0.0.1 comes [::1] where it exists, because browsers
/// try both for `localhost`.
pub(super) fn shared_addresses(listen: SocketAddr) -> Result<Vec<SocketAddr>, ServerError> {
    let probe = |address: SocketAddr| TcpListener::bind(address).map(drop);
    probe(listen).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ServerError::Taken { address: listen },
        _ => ServerError::Spawn {
            program: PathBuf::from(format!("a server at {listen}")),
            source: error,
        },
    })?;
    let mut addresses = vec![listen];
    if listen.ip() == std::net::Ipv4Addr::LOCALHOST {
        let six = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, listen.port()));
        if probe(six).is_ok() {
            addresses.push(six);
        }
    }
    Ok(addresses)
}

impl Server {
    /// A server that is not running yet.
    pub(super) fn new(folder: PathBuf) -> Result<Self, ServerError> {
        let failed = |source| ServerError::File {
            path: folder.clone(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed)?;
        Ok(Self {
            uid: Uuid::new_v4().to_string(),
            own: free_port().map_err(failed)?,
            health: free_port().map_err(failed)?,
            is_ready: false,
            child: None,
            missed: 0,
            log_start: 0,
            started: Instant::now(),
            not_before: Instant::now(),
            quick_deaths: 0,
            folder,
        })
    }

    pub(super) fn peer_folder(&self) -> PathBuf {
        self.folder.join("peer")
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.folder.join(TOKEN_FILE)
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn spawn(&mut self, common: &Common) -> Result<(), ServerError> {
        let path = self.log_file();
        let failed = |source| ServerError::File {
            path: path.clone(),
            source,
        };
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        let again = log.try_clone().map_err(failed)?;
        self.log_start = log.metadata().map_err(failed)?.len();
        let mut command = Command::new(&common.program);
        command.arg("serve");
        for address in common.shared.iter().chain([&self.own]) {
            command.arg("--listen").arg(address.to_string());
        }
        command
            .args(["--health-listen", &self.health.to_string()])
            .args(["--database-url", &common.database_url()])
            .arg("--config-dir")
            .arg(&common.config)
            .args(["--operator-address", &common.operator.to_string()])
            .arg("--peer-dir")
            .arg(self.peer_folder())
            .arg("--token-file")
            .arg(self.token_file())
            .args(["--fleet", &common.fleet])
            .args(["--max-staleness", &common.max_staleness])
            .args(["--drain-timeout", &format!("{}s", DRAIN.as_secs())])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .process_group(0);
        let child = command.spawn().map_err(|source| ServerError::Spawn {
            program: common.program.clone(),
            source,
        })?;
        self.started = Instant::now();
        self.missed = 0;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it when it does not run, and asks whether it is ready.
    pub(super) async fn look_after(&mut self, common: &Common) -> Result<Event, ServerError> {
        if let Some(child) = &mut self.child {
            if let Ok(Some(status)) = child.try_wait() {
                return Ok(self.died(status));
            }
        } else if Instant::now() >= self.not_before {
            self.spawn(common)?;
        }
        let was_ready = self.is_ready;
        let probe = tokio::time::timeout(PROBE, http::get(self.health, "/readyz")).await;
        if let Ok(Ok((status, _))) = probe {
            self.missed = 0;
            self.is_ready = self.child.is_some() && status == 200;
        } else {
            // A busy machine is no reason to call a server unready that was ready a moment ago.
            self.missed = self.missed.saturating_add(1);
            self.is_ready = was_ready && self.child.is_some() && self.missed < MISSES;
        }
        Ok(if self.is_ready && !was_ready {
            Event::Ready
        } else {
            Event::None
        })
    }

    /// What keeps it from being ready, in its own words.
    pub(super) async fn why_not_ready(&self) -> String {
        let probe = tokio::time::timeout(PROBE, http::get(self.health, "/readyz")).await;
        let Ok(Ok((_, body))) = probe else {
            return "it does not answer yet".to_owned();
        };
        let report: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let reasons = report.get("not_ready").and_then(serde_json::Value::as_array);
        let reasons: Vec<&str> = reasons
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .collect();
        reasons.join("; ")
    }

    fn died(&mut self, status: ExitStatus) -> Event {
        self.child = None;
        self.is_ready = false;
        let quick = self.started.elapsed() < STABLE;
        self.quick_deaths = if quick { self.quick_deaths.saturating_add(1) } else { 0 };
        let pause = Duration::from_millis(250)
            .saturating_mul(1 << self.quick_deaths.saturating_sub(1).min(8))
            .min(LONGEST_PAUSE);
        let pause = if quick { pause } else { Duration::ZERO };
        self.not_before = Instant::now() + pause;
        let last_words = if quick {
            let log = fs::read(self.log_file()).unwrap_or_default();
            let start = usize::try_from(self.log_start).unwrap_or(0);
            last_words(&String::from_utf8_lossy(log.get(start..).unwrap_or_default()))
        } else {
            None
        };
        Event::Died {
            status: status.to_string(),
            pause,
            last_words,
        }
    }

    /// Asks it to stop; [`Server::stopped`] waits for it.
    pub(super) fn stop(&self) {
        if let Some(pid) = self.child.as_ref().and_then(Child::id).and_then(pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until it has stopped, and kills it when it takes too long.
    pub(super) async fn stopped(mut self) {
        if let Some(child) = &mut self.child
            && tokio::time::timeout(DRAIN + Duration::from_secs(1), child.wait())
                .await
                .is_err()
        {
            let _ = child.kill().await;
        }
    }
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// The line of a log that says best why a program ended: the last error, else the last warning, else the last line.
fn last_words(log: &str) -> Option<String> {
    let lines = || log.lines().map(str::trim).rev().filter(|line| !line.is_empty());
    let is_error = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at") || line.starts_with("error");
    let found = lines()
        .find(is_error)
        .or_else(|| lines().find(|line| line.contains(" WARN ")))
        .or_else(|| lines().next());
    found.map(str::to_owned)
}

/// Stops servers that an earlier run left behind. Returns how many there were.
pub(super) async fn stop_leftovers(servers: &Path) -> usize {
    let found = leftovers(servers);
    for number in &found {
        signal(*number, Signal::TERM);
    }
    let deadline = Instant::now() + DRAIN + Duration::from_secs(1);
    let mut left = found.clone();
    while !left.is_empty() {
        if Instant::now() >= deadline {
            for number in &left {
                signal(*number, Signal::KILL);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        left.retain(|number| is_ours(*number, servers));
    }
    found.len()
}

/// The processes whose command line names a token below `servers`, however they were started.
fn leftovers(servers: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| is_ours(*number, servers))
        .collect()
}

fn signal(number: u32, signal: Signal) {
    if let Some(pid) = pid(number) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether the process of that number is a server with a folder below `servers`. A finished process that nobody has
/// waited for has no command line any more.
fn is_ours(number: u32, servers: &Path) -> bool {
    let arguments = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| {
        let path = Path::new(OsStr::from_bytes(argument));
        path.starts_with(servers) && path.file_name() == Some(OsStr::new(TOKEN_FILE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_what_a_dead_server_is_quoted_with() {
        let check = |log: &str| last_words(log).unwrap_or_default();
        let log = "2026 INFO app: one\n2026 ERROR app: no database\n2026 INFO app: drained\n\n";
        assert_eq!(check(log), "2026 ERROR app: no database");
        assert_eq!(check("2026 WARN app: old\n2026 INFO app: two\n"), "2026 WARN app: old");
        assert_eq!(check("error: bad flag\nFor more information\n"), "error: bad flag");
        assert_eq!(check("2026 INFO app: one\n"), "2026 INFO app: one");
        assert_eq!(check("\n"), "");
    }
}
