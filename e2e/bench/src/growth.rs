//! How it grows: what a request costs, what a server holds and how long the operator compiles, with ever more realms and
//! clients.
//!
//! The servers of all sizes run at the same time on the same core and are pressed in turns, so that a busy minute of the
//! machine falls on all of them. The artefact's limit is 1 000 realms; a server alone is also measured beyond it.

mod start;
mod tenants;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tempfile::TempDir;

use crate::answer::check_es256;
use crate::exchange::Exchange;
use crate::load::{Answer, Pace, Progress as Unit, Source, drive};
use crate::pinned::CpuPlan;
use crate::report::{Progress, Report, median, rounded, spread};
use crate::server::{Server, ServerPlan};
use crate::settings::Settings;
use crate::{fleet, machine, plot, server};
use tenants::{Caller, Size};

/// Realms with one client each.
const REALMS: [usize; 4] = [1, 100, 1_000, 10_000];
/// Clients of one realm.
const CLIENTS: [usize; 4] = [1, 100, 1_000, 10_000];
/// Connections that press on a server.
const CONNECTIONS: usize = 16;
/// How long a server is left alone before its memory is read.
const CALM: Duration = Duration::from_secs(2);
/// What a server that rests computes meanwhile at most.
const RESTING: Duration = Duration::from_millis(50);
/// How long a server may try the keys of 10 000 realms.
const UNREST: Duration = Duration::from_mins(3);

/// Which of the two grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Realms,
    Clients,
}

impl Axis {
    const fn name(self) -> &'static str {
        match self {
            Self::Realms => "realms",
            Self::Clients => "clients",
        }
    }

    const fn sizes(self) -> [usize; 4] {
        match self {
            Self::Realms => REALMS,
            Self::Clients => CLIENTS,
        }
    }

    const fn size(self, count: usize) -> Size {
        match self {
            Self::Realms => Size {
                realms: count,
                clients: count,
            },
            Self::Clients => Size {
                realms: 1,
                clients: count,
            },
        }
    }
}

/// Measures servers of every size, and the start of one, and writes the report and the plots.
pub fn run(settings: &Settings) -> Result<()> {
    let mut report = Report::load(&settings.out)?;
    report.machine = machine::facts();
    let cpus = CpuPlan::of_machine()?;
    let rounds = u32::try_from(settings.rounds)?;
    let pressed = settings.round() * rounds * 4;
    let mut progress = Progress::new((pressed + PREPARATION) * 2 + start::TAKES);
    for axis in [Axis::Realms, Axis::Clients] {
        progress.step(&format!("servers with more and more {}", axis.name()), PREPARATION);
        let sites = prepare(axis, &cpus, &mut report)?;
        cpus.client.hold_this_thread()?;
        progress.step(&format!("tokens by {}", axis.name()), pressed);
        press(axis, &sites, settings, &mut report)?;
        cpus.everything.hold_this_thread()?;
        report.save(&settings.out)?;
    }
    progress.step("starts with 1 000 clients", start::TAKES);
    start::measure(&cpus, &mut report)?;
    slopes(&mut report);
    report.save(&settings.out)?;
    plot::draw(&report, &settings.out)
}

/// What making keys and encoding takes, about.
const PREPARATION: Duration = Duration::from_mins(1);

/// A server of some size.
struct Site {
    count: usize,
    callers: Vec<Caller>,
    server: Server,
    /// Holds configuration and database.
    _folder: TempDir,
}

/// Starts the servers, and notes what they hold before and after each realm was asked for once.
fn prepare(axis: Axis, cpus: &CpuPlan, report: &mut Report) -> Result<Vec<Site>> {
    let mut sites = Vec::new();
    for count in axis.sizes() {
        let size = axis.size(count);
        let folder = tempfile::tempdir()?;
        let config_dir = folder.path().join("config");
        let bytes = fleet::write(&config_dir, tenants::resources(size)?)?;
        note(
            report,
            &format!("artefact_bytes_by_{}", axis.name()),
            count,
            number(bytes),
        );
        let server = Server::start(&ServerPlan {
            config_dir,
            database_url: server::sqlite(folder.path())?,
            database_pool: 1,
            cpus: cpus.server.clone(),
            log: folder.path().join("log"),
            more: Vec::new(),
        })?;
        let ready = server.started().as_secs_f64() * 1e3;
        note(report, &format!("ready_ms_by_{}", axis.name()), count, ready);
        at_rest(&server)?;
        let memory = server.program().memory()?;
        note(
            report,
            &format!("untouched_bytes_by_{}", axis.name()),
            count,
            number(memory.resident),
        );
        let measured = Site {
            count,
            callers: tenants::callers(size),
            server,
            _folder: folder,
        };
        let first_use = touch(&measured)?;
        note(report, &format!("first_use_us_by_{}", axis.name()), count, first_use);
        std::thread::sleep(CALM);
        let memory = measured.server.program().memory()?;
        note(
            report,
            &format!("touched_bytes_by_{}", axis.name()),
            count,
            number(memory.resident),
        );
        sites.push(measured);
    }
    Ok(sites)
}

/// Waits until a server has done what follows a start: it tries every key, which would be in each cost that is measured.
fn at_rest(server: &Server) -> Result<()> {
    let deadline = Instant::now() + UNREST;
    loop {
        let before = server.program().cpu_time()?;
        std::thread::sleep(CALM);
        if server.program().cpu_time()?.saturating_sub(before) <= RESTING {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the server does not come to rest");
    }
}

/// Asks once for each client's token and for both documents of its realm, and checks them. The CPU time that one of these
/// rounds of three cost the server, microseconds.
fn touch(site: &Site) -> Result<f64> {
    let mut exchange = Exchange::open(site.server.address())?;
    let before = site.server.program().cpu_time()?;
    let mut answers = Vec::with_capacity(site.callers.len());
    for caller in &site.callers {
        let token = exchange.ask(&caller.token_request()?)?;
        let jwks = exchange.ask(&caller.document_request("/oauth2/jwks")?)?;
        let discovery = exchange.ask(&caller.document_request("/.well-known/openid-configuration")?)?;
        answers.push((caller, token, jwks, discovery));
    }
    let took = site.server.program().cpu_time()?.saturating_sub(before);
    for (caller, token, jwks, discovery) in answers {
        check_es256(&token, &jwks, Some(&caller.issuer))?;
        ensure!(
            discovery.contains(&format!("\"{}\"", caller.issuer)),
            "{} is not in its own discovery document",
            caller.issuer
        );
    }
    Ok(took.as_secs_f64() * 1e6 / number(u64::try_from(site.callers.len().max(1))?))
}

/// Presses on every server in turns, and notes rates, and what part of the smallest server's rate they are.
fn press(axis: Axis, sites: &[Site], settings: &Settings, report: &mut Report) -> Result<()> {
    let mut rates: Vec<Vec<f64>> = sites.iter().map(|_| Vec::new()).collect();
    for _ in 0..settings.rounds.max(1) {
        for (site, rates) in sites.iter().zip(&mut rates) {
            rates.push(round(site, settings)?);
        }
    }
    let first = rates.first().context("no sizes")?.clone();
    for (site, rates) in sites.iter().zip(&rates) {
        let ratios: Vec<f64> = rates.iter().zip(&first).map(|(rate, first)| rate / first).collect();
        let [lowest, highest] = spread(&ratios);
        for (what, value) in [
            ("tokens_per_cpu_second", median(rates)),
            ("ratio_to_smallest", median(&ratios)),
            ("ratio_to_smallest_lowest", lowest),
            ("ratio_to_smallest_highest", highest),
        ] {
            note(report, &format!("{what}_by_{}", axis.name()), site.count, value);
        }
    }
    Ok(())
}

/// Tokens per CPU second, asked for by all clients in an order of chance.
fn round(site: &Site, settings: &Settings) -> Result<f64> {
    let mut random = StdRng::seed_from_u64(1);
    let mut requests = Vec::with_capacity(site.callers.len());
    for caller in &site.callers {
        requests.push(caller.token_request()?);
    }
    let requests: Arc<[Vec<u8>]> = requests.into();
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.shuffle(&mut random);
        sources.push(Box::new(Tokens {
            requests: Arc::clone(&requests),
            order,
            next: 0,
        }));
    }
    let meter = || site.server.program().cpu_time();
    let load = settings.load(site.server.address(), Pace::Closed, &meter);
    Ok(drive(&load, &mut sources)?.per_cpu_second())
}

/// Asks for tokens, client after client.
struct Tokens {
    requests: Arc<[Vec<u8>]>,
    order: Vec<usize>,
    next: usize,
}

impl Source for Tokens {
    fn write(&mut self, request: &mut Vec<u8>) {
        let which = self.order.get(self.next).copied().unwrap_or_default();
        self.next = (self.next + 1) % self.order.len().max(1);
        if let Some(bytes) = self.requests.get(which) {
            request.extend_from_slice(bytes);
        }
    }

    fn read(&mut self, answer: &Answer<'_>) -> Result<Unit> {
        answer.expect(200)?;
        ensure!(answer.body.starts_with(b"{\"access_token\":\"ey"), "not a token");
        Ok(Unit::Complete)
    }
}

/// Adds a point to a series, in place of a former one.
pub(crate) fn note(report: &mut Report, series: &str, size: usize, value: f64) {
    let size = number(u64::try_from(size).unwrap_or(u64::MAX));
    let points = report.growth.entry(series.to_owned()).or_default();
    points.retain(|(other, _)| other.total_cmp(&size).is_ne());
    points.push((size, rounded(value)));
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
}

/// What each further client and realm costs of memory, from the first point to the last.
fn slopes(report: &mut Report) {
    let slope = |series: &str| {
        let points = report.growth.get(series)?;
        let ((from, least), (to, most)) = (points.first()?, points.last()?);
        (to > from).then(|| (most - least) / (to - from))
    };
    let client = slope("untouched_bytes_by_clients");
    let untouched = slope("untouched_bytes_by_realms");
    let touched = slope("touched_bytes_by_realms");
    for (name, value) in [
        ("client_bytes", client),
        // Each realm of that series has a client, which is counted by itself.
        (
            "untouched_realm_bytes",
            untouched.zip(client).map(|(both, client)| both - client),
        ),
        (
            "touched_realm_bytes",
            touched.zip(client).map(|(both, client)| both - client),
        ),
    ] {
        if let Some(value) = value {
            report.server.insert(name.to_owned(), rounded(value));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_replaced_and_points_stay_in_order() {
        let mut report = Report::default();
        for (size, value) in [(100, 1.0), (1, 2.0), (100, 3.0)] {
            note(&mut report, "a", size, value);
        }
        assert_eq!(report.growth["a"], [(1.0, 2.0), (100.0, 3.0)]);
    }

    #[test]
    fn a_realm_is_charged_without_its_client() {
        let mut report = Report::default();
        for (series, at_most) in [
            ("untouched_bytes_by_clients", 3_000.0),
            ("untouched_bytes_by_realms", 9_000.0),
        ] {
            note(&mut report, series, 0, 0.0);
            note(&mut report, series, 1, at_most);
        }
        slopes(&mut report);
        let is = |name: &str, bytes: f64| (report.server[name] - bytes).abs() < 1e-6;
        assert!(is("client_bytes", 3_000.0) && is("untouched_realm_bytes", 6_000.0));
    }
}
