//! Other servers under the same load as ours: the same grant, the same algorithm, the same answers, on the same core, charged
//! for the CPU time of all their processes. Ours runs beside each of them, and rounds take turns.
//!
//! Optional: `make bench-peers` fetches them. They run as their documentation says for production, with everything that
//! this load does not use switched off, and long enough before that their compilers have done their work.

mod family;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::parts::{checkout, free_port};
use e2e::process::tail;
use oidc::config::{Resource, SignatureAlgorithm};
use tempfile::TempDir;

use crate::answer::check_es256;
use crate::exchange::Exchange;
use crate::growth::number;
use crate::load::{Load, Pace, drive};
use crate::pinned::{CpuPlan, Cpus, Pinned};
use crate::report::{Progress, Report, median, rounded};
use crate::server::{self, Server, ServerPlan};
use crate::settings::Settings;
use crate::sources::{Repeat, get, post};
use crate::{fleet, machine};

/// The client, its secret, and what it asks for, at every server.
const CLIENT: &str = "bench";
const SECRET: &str = "correct-horse-battery-staple-of-the-bench";
const SCOPE: &str = "orders:read";
const RESOURCE: &str = "https://orders.example";
/// Connections that press.
const CONNECTIONS: usize = 16;
/// For a peer to answer: Keycloak takes minutes on a core that others use, too.
const START: Duration = Duration::from_mins(15);
/// Pressed before each measured round.
const AGAIN: Duration = Duration::from_millis(500);
/// Name of ours in the report.
const OURS: &str = "nauthera";

/// A server that nobody here wrote.
#[derive(Clone, Copy, Debug)]
enum Peer {
    OidcProvider,
    Keycloak,
}

/// What is asked for, by the names of the report's flows.
const FLOWS: [(&str, Asked); 3] = [
    ("client_credentials_es256", Asked::Token),
    ("jwks", Asked::Jwks),
    ("discovery", Asked::Discovery),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Token,
    Jwks,
    Discovery,
}

/// Measures every peer beside ours and writes the report.
pub fn run(settings: &Settings) -> Result<()> {
    let mut report = Report::load(&settings.out)?;
    report.machine = machine::facts();
    let cpus = CpuPlan::of_machine()?;
    let round = Duration::from_secs_f64(settings.seconds) + AGAIN;
    let rounds = round * u32::try_from(settings.rounds * FLOWS.len() * 2)?;
    let peers = [Peer::OidcProvider, Peer::Keycloak];
    let takes = |peer: Peer| peer.warm_up() + peer.start_takes() + rounds;
    let mut progress = Progress::new(peers.into_iter().map(takes).sum());
    for peer in peers {
        progress.step(&format!("{} beside ours", peer.name()), takes(peer));
        measure(peer, settings, &cpus, &mut report)?;
        report.save(&settings.out)?;
    }
    Ok(())
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::OidcProvider => "oidc-provider",
            Self::Keycloak => "keycloak",
        }
    }

    /// How long it is pressed before it is measured.
    const fn warm_up(self) -> Duration {
        match self {
            Self::OidcProvider => Duration::from_secs(20),
            Self::Keycloak => Duration::from_mins(2),
        }
    }

    const fn start_takes(self) -> Duration {
        match self {
            Self::OidcProvider => Duration::from_secs(2),
            Self::Keycloak => Duration::from_secs(40),
        }
    }

    /// Path of the issuer, of its token endpoint and of its keys.
    const fn paths(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OidcProvider => ("", "/token", "/jwks"),
            Self::Keycloak => (
                "/realms/bench",
                "/protocol/openid-connect/token",
                "/protocol/openid-connect/certs",
            ),
        }
    }

    /// What starts it at this port.
    fn command(self, port: u16) -> Result<Command> {
        let folder = checkout().join("e2e/bench/peers");
        match self {
            Self::OidcProvider => {
                let mut command = Command::new("node");
                command
                    .arg(folder.join("oidc-provider.mjs"))
                    .args([&port.to_string(), CLIENT, SECRET, SCOPE, RESOURCE])
                    .env("NODE_ENV", "production");
                Ok(command)
            }
            Self::Keycloak => {
                let home = directory("NAUTHERA_PEER_KEYCLOAK")?;
                let data = home.join("data");
                // Every run begins with an empty database.
                if data.exists() {
                    std::fs::remove_dir_all(&data)?;
                }
                std::fs::create_dir_all(data.join("import"))?;
                std::fs::copy(folder.join("keycloak-realm.json"), data.join("import/bench.json"))?;
                let mut command = Command::new(home.join("bin/kc.sh"));
                command
                    .args(["start", "--optimized", "--import-realm", "--http-enabled=true"])
                    .args([
                        "--http-host=127.0.0.1",
                        "--hostname-strict=false",
                        "--cache=local",
                        "--log-level=warn",
                    ])
                    .arg(format!("--http-port={port}"))
                    .env("JAVA_HOME", directory("NAUTHERA_PEER_JAVA")?);
                Ok(command)
            }
        }
    }
}

/// The folder that the environment variable names.
fn directory(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    let path = path.with_context(|| format!("{variable} is not set: run `make bench-peers`"))?;
    ensure!(path.is_dir(), "{variable} names {}, which is no folder", path.display());
    Ok(path)
}

/// One server that is pressed: where, what is sent to it, what it has used.
struct Target {
    address: SocketAddr,
    issuer_path: String,
    token_path: String,
    jwks_path: String,
    host: String,
    process: u32,
}

fn measure(peer: Peer, settings: &Settings, cpus: &CpuPlan, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (ours, our_target) = ours(&folder, &cpus.server)?;
    let (began, port) = (Instant::now(), free_port()?);
    let log = folder.path().join("peer.log");
    let mut process = Pinned::spawn(peer.name(), &peer.command(port)?, &cpus.server, &log)?;
    let (issuer_path, token_path, jwks_path) = peer.paths();
    let target = Target {
        address: (Ipv4Addr::LOCALHOST, port).into(),
        issuer_path: issuer_path.to_owned(),
        token_path: format!("{issuer_path}{token_path}"),
        jwks_path: format!("{issuer_path}{jwks_path}"),
        host: format!("127.0.0.1:{port}"),
        process: process.id(),
    };
    until_answered(&mut process, &target)?;
    let started = began.elapsed();
    check(&our_target)?;
    check(&target)?;
    cpus.client.hold_this_thread()?;
    press(&target, Asked::Token, peer.warm_up(), Duration::from_secs(1))?;
    for (flow, asked) in FLOWS {
        let (mut theirs, mut beside) = (Vec::new(), Vec::new());
        let length = Duration::from_secs_f64(settings.seconds);
        for _ in 0..settings.rounds.max(1) {
            theirs.push(press(&target, asked, AGAIN, length)?);
            beside.push(press(&our_target, asked, AGAIN, length)?);
        }
        let ratios: Vec<f64> = theirs.iter().zip(&beside).map(|(theirs, ours)| ours / theirs).collect();
        note(report, peer.name(), flow, median(&theirs));
        note(report, peer.name(), &format!("{flow}_ours_is_times"), median(&ratios));
        note(report, OURS, flow, median(&beside));
    }
    cpus.everything.hold_this_thread()?;
    let rss = family::memory(target.process)?;
    note(
        report,
        peer.name(),
        "rss_after_load_mib",
        number(rss) / f64::from(1 << 20),
    );
    note(report, peer.name(), "start_seconds", started.as_secs_f64());
    let rss = family::memory(our_target.process)?;
    note(report, OURS, "rss_after_load_mib", number(rss) / f64::from(1 << 20));
    note(report, OURS, "start_seconds", ours.started().as_secs_f64());
    process.process().stop(Duration::from_secs(30)).map(drop)
}

fn note(report: &mut Report, server: &str, what: &str, value: f64) {
    let numbers = report.peers.entry(server.to_owned()).or_default();
    numbers.insert(what.to_owned(), rounded(value));
}

/// Our server with one realm and the same client.
fn ours(folder: &TempDir, cpus: &Cpus) -> Result<(Server, Target)> {
    let issuer = "https://id.example";
    let client = oidc::config::Client {
        authentication: oidc::config::ClientAuthentication::SecretBasic(vec![fleet::hash_of(SECRET)?]),
        ..fleet::client(issuer, CLIENT)?
    };
    let signing = fleet::signing_keys(&[SignatureAlgorithm::Es256])?;
    let resources = vec![
        Resource::Realm(fleet::realm(issuer, "bench/realm")?),
        Resource::Keys(fleet::key_set(issuer, signing)),
        Resource::Client(client),
    ];
    let config_dir = folder.path().join("config");
    fleet::write(&config_dir, resources)?;
    let server = Server::start(&ServerPlan {
        config_dir,
        database_url: server::sqlite(folder.path())?,
        database_pool: 1,
        cpus: cpus.clone(),
        log: folder.path().join("ours.log"),
        more: Vec::new(),
    })?;
    let target = Target {
        address: server.address(),
        issuer_path: String::new(),
        token_path: "/oauth2/token".to_owned(),
        jwks_path: "/oauth2/jwks".to_owned(),
        host: "id.example".to_owned(),
        process: server.program().id(),
    };
    Ok((server, target))
}

impl Target {
    fn request(&self, asked: Asked) -> Vec<u8> {
        match asked {
            Asked::Token => {
                let credentials = STANDARD.encode(format!("{CLIENT}:{SECRET}"));
                let form = [("grant_type", "client_credentials"), ("scope", SCOPE)];
                let authorization = format!("Basic {credentials}");
                post(
                    &self.host,
                    &self.token_path,
                    &[("authorization", &authorization)],
                    &form,
                )
            }
            Asked::Jwks => get(&self.host, &self.jwks_path, &[]),
            Asked::Discovery => {
                let path = format!("{}/.well-known/openid-configuration", self.issuer_path);
                get(&self.host, &path, &[])
            }
        }
    }
}

/// Waits until its discovery document is served.
fn until_answered(process: &mut Pinned, target: &Target) -> Result<()> {
    let deadline = Instant::now() + START;
    let answers = || Exchange::open(target.address)?.ask(&target.request(Asked::Discovery));
    while let Err(error) = answers() {
        process.process().expect_running()?;
        ensure!(
            Instant::now() < deadline,
            "no answer: {error:#}\n{}",
            tail(&process.process().output(), 30)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Every server gives a token that its published key verifies.
fn check(target: &Target) -> Result<()> {
    let mut exchange = Exchange::open(target.address)?;
    let token = exchange.ask(&target.request(Asked::Token))?;
    let jwks = exchange.ask(&target.request(Asked::Jwks))?;
    check_es256(&token, &jwks, None)
}

/// Answers per second of CPU time.
fn press(target: &Target, asked: Asked, warm_up: Duration, measure: Duration) -> Result<f64> {
    let holds = match asked {
        Asked::Token => "\"access_token\":\"ey",
        Asked::Jwks => "\"keys\"",
        Asked::Discovery => "\"token_endpoint\"",
    };
    let mut sources = Repeat::many(CONNECTIONS, &target.request(asked), holds);
    let load = Load {
        address: target.address,
        pace: Pace::Closed,
        warm_up,
        measure,
        meter: &|| family::cpu_time(target.process),
    };
    Ok(drive(&load, &mut sources)?.per_cpu_second())
}
