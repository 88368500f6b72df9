//! The server under test: the real `nauthera-auth`, as a package would start it, on its own core.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::parts::free_port;
use e2e::process::tail;

use crate::fleet::FLEET;
use crate::pinned::{Cpus, Pinned};

/// How long a server may take until it is ready: a debug build with 10 000 realms on a busy machine.
const START: Duration = Duration::from_mins(2);
/// Between two probes of a server that starts.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// Folder with manifest and shards.
    pub config_dir: PathBuf,
    /// Database, already migrated.
    pub database_url: String,
    /// Connections to it at most.
    pub database_pool: u32,
    /// Where it runs.
    pub cpus: Cpus,
    /// Where its output goes.
    pub log: PathBuf,
    /// Further arguments of `serve` (an operator to dial …).
    pub more: Vec<String>,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    program: Pinned,
    address: SocketAddr,
    health: SocketAddr,
    started: Duration,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(plan: &ServerPlan) -> Result<Self> {
        let (port, health_port) = (free_port()?, free_port()?);
        let began = Instant::now();
        let mut command = Command::new(beside("nauthera-auth")?);
        command
            .args(["serve", "--fleet", FLEET, "--log-level", "warn"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--health-listen", &format!("127.0.0.1:{health_port}")])
            .args(["--database-pool", &plan.database_pool.to_string()])
            .arg("--config-dir")
            .arg(&plan.config_dir)
            .args(&plan.more)
            .env("NAUTHERA_DATABASE_URL", &plan.database_url);
        let program = Pinned::spawn("nauthera-auth", &command, &plan.cpus, &plan.log)?;
        let mut server = Self {
            program,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            health: (Ipv4Addr::LOCALHOST, health_port).into(),
            started: Duration::ZERO,
        };
        server.wait_until_ready()?;
        server.started = began.elapsed();
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        while !get(self.health, "health", "/readyz").is_ok_and(|(status, _)| status == 200) {
            self.program.process().expect_running()?;
            ensure!(
                Instant::now() < deadline,
                "the server is not ready after {START:?}: {:?}\n{}",
                get(self.health, "health", "/readyz"),
                tail(&self.program.process().output(), 30)
            );
            std::thread::sleep(PROBE_EVERY);
        }
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From exec to ready.
    pub fn started(&self) -> Duration {
        self.started
    }

    /// The process.
    pub fn program(&self) -> &Pinned {
        &self.program
    }

    /// The sum of a metric over its labels; 0 when it has no sample yet.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let (status, body) = get(self.health, "health", "/metrics")?;
        ensure!(status == 200, "/metrics answered {status}");
        let mut sum = 0.0;
        for line in body.lines() {
            if line.split([' ', '{']).next() == Some(name) {
                let value = line.rsplit(' ').next().context("a sample has a value")?;
                sum += value.parse::<f64>().with_context(|| format!("metric {name}"))?;
            }
        }
        Ok(sum)
    }

    /// Statements it sent to the database since its start.
    pub fn statements(&self) -> Result<f64> {
        self.metric("nauthera_database_statements")
    }
}

/// Adds a person with a password, by the command that an administrator uses.
pub fn add_person(database_url: &str, issuer: &str, username: &str, password: &str) -> Result<()> {
    let email = format!("{username}@example.com");
    let mut child = Command::new(beside("nauthera-auth")?)
        .args(["user", "create", "--password-stdin", "--issuer", issuer])
        .args(["--username", username, "--email", &email, "--name", "Ada Lovelace"])
        .args(["--given-name", "Ada", "--family-name", "Lovelace"])
        .env("NAUTHERA_DATABASE_URL", database_url)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("nauthera-auth user create")?;
    let mut input = child.stdin.take().context("its standard input")?;
    writeln!(input, "{password}")?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Brings an empty database to the schema of the server.
pub fn migrate(database_url: &str) -> Result<()> {
    let output = Command::new(beside("nauthera-auth")?)
        .arg("migrate")
        .env("NAUTHERA_DATABASE_URL", database_url)
        .output()
        .context("nauthera-auth migrate")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The address of a new SQLite file in `folder`, migrated: for measurements in which no statement is sent.
pub fn sqlite(folder: &Path) -> Result<String> {
    let url = format!("sqlite://{}", folder.join("bench.sqlite").display());
    migrate(&url)?;
    Ok(url)
}

/// A program from the same build as this one.
pub fn beside(program: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("the path of this program")?;
    // A test of this crate lies one folder deeper.
    let mut folders = this.ancestors().skip(1).take(2).map(|folder| folder.join(program));
    folders
        .find(|path| path.is_file())
        .with_context(|| format!("{program} is not built: `make bench` does that"))
}

/// Status and body of one GET on a connection of its own.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("an answer without a status")?, body.to_owned()))
}
