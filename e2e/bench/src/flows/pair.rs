//! Ours, the ceiling, ours, the ceiling …: what disturbs a machine disturbs both, and the ratio of neighbours stays.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::parts::free_port;

use super::world::World;
use crate::ceiling::TokenShape;
use crate::load::{Outcome, Pace, Source, Sources, drive};
use crate::pinned::{Cpus, Pinned};
use crate::report::{Flow, Progress, Unit, median, rounded, spread};
use crate::server::beside;
use crate::settings::Settings;

/// The share of its own maximum that latency is measured at.
const SHARE: f64 = 0.7;
/// Open-loop runs of which the median counts.
const OPEN_RUNS: usize = 3;
/// How long a ceiling program may take to listen.
const START: Duration = Duration::from_secs(20);

/// A flow of ours, and how its ceiling is pressed.
pub(crate) struct Contest {
    /// What the ceiling is, in words.
    pub beside: &'static str,
    /// What the ceiling's tokens are like.
    pub shape: TokenShape,
    /// The size of its static answer.
    pub static_bytes: usize,
    /// Who presses ours.
    pub ours: Sources,
    /// Who presses the ceiling, once it listens there.
    pub ceiling: Box<dyn FnOnce(SocketAddr) -> Result<Sources>>,
}

/// Runs contests.
pub(crate) struct Judge<'a> {
    /// How thoroughly.
    pub settings: &'a Settings,
    /// Where.
    pub world: &'a World,
}

/// Rates of the rounds of one flow.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    ours: Vec<f64>,
    ceiling: Vec<f64>,
}

impl Judge<'_> {
    /// The flow beside its ceiling, and its latency.
    pub(crate) fn measure(&self, name: &str, contest: Contest, progress: &mut Progress) -> Result<Flow> {
        let program = CeilingProgram::start(contest.shape, contest.static_bytes, &self.world.cpus.server, self.world)?;
        let mut theirs = (contest.ceiling)(program.address)?;
        let mut ours = contest.ours;
        let (mut rounds, mut by_clock) = (Rounds::default(), Rounds::default());
        let statements = self.world.server.statements()?;
        let mut units = 0;
        for round in 1..=self.settings.rounds {
            progress.step(&format!("{name}, round {round}"), self.settings.round() * 2);
            let mine = self.press(Pace::Closed, &mut ours)?;
            let other = self.press_ceiling(&program, Pace::Closed, &mut theirs)?;
            units += mine.total;
            by_clock.add(mine.per_second(), other.per_second());
            rounds.add(mine.per_cpu_second(), other.per_cpu_second());
        }
        let statements = per_unit(self.world.server.statements()? - statements, units);
        let rate = SHARE * median(&by_clock.ours);
        progress.step(&format!("{name}, latency"), self.settings.round() * 6);
        let (mut mine, mut other) = (Latencies::default(), Latencies::default());
        for _ in 0..OPEN_RUNS {
            mine.add(&self.press(Pace::Open { rate }, &mut ours)?);
            let rate = SHARE * median(&by_clock.ceiling);
            other.add(&self.press_ceiling(&program, Pace::Open { rate }, &mut theirs)?);
        }
        Ok(Flow {
            open_rate: rounded(rate),
            p50_ms: rounded(median(&mine.half)),
            p99_ms: rounded(median(&mine.most)),
            ceiling_p50_ms: rounded(median(&other.half)),
            ceiling_p99_ms: rounded(median(&other.most)),
            statements: rounded(statements),
            ..rounds.flow(Unit::CpuSecond, contest.beside)
        })
    }

    fn press_ceiling(&self, program: &CeilingProgram, pace: Pace, sources: &mut [Box<dyn Source>]) -> Result<Outcome> {
        let meter = || program.program.cpu_time();
        drive(&self.settings.load(program.address, pace, &meter), sources)
    }

    /// Presses our server.
    pub(crate) fn press(&self, pace: Pace, sources: &mut [Box<dyn Source>]) -> Result<Outcome> {
        let meter = || self.world.server.program().cpu_time();
        drive(&self.settings.load(self.world.server.address(), pace, &meter), sources)
    }

    /// Half and 99 of 100 units stay below these milliseconds at this rate: medians of several runs.
    pub(crate) fn latency(&self, rate: f64, sources: &mut [Box<dyn Source>]) -> Result<(f64, f64)> {
        let mut latencies = Latencies::default();
        for _ in 0..OPEN_RUNS {
            latencies.add(&self.press(Pace::Open { rate }, sources)?);
        }
        Ok((median(&latencies.half), median(&latencies.most)))
    }
}

/// What units took in each open-loop run, milliseconds.
#[derive(Debug, Default)]
struct Latencies {
    half: Vec<f64>,
    most: Vec<f64>,
}

impl Latencies {
    fn add(&mut self, outcome: &Outcome) {
        self.half.push(outcome.quantile_ms(0.5));
        self.most.push(outcome.quantile_ms(0.99));
    }
}

impl Rounds {
    /// One round of each.
    pub(crate) fn add(&mut self, ours: f64, ceiling: f64) {
        self.ours.push(ours);
        self.ceiling.push(ceiling);
    }

    /// The comparison.
    pub(crate) fn flow(&self, unit: Unit, beside: &str) -> Flow {
        let ratios: Vec<f64> = self
            .ours
            .iter()
            .zip(&self.ceiling)
            .map(|(ours, ceiling)| ours / ceiling)
            .collect();
        Flow {
            unit,
            beside: beside.to_owned(),
            ours: rounded(median(&self.ours)),
            ceiling: rounded(median(&self.ceiling)),
            ratio: rounded(median(&ratios)),
            ratio_spread: spread(&ratios).map(rounded),
            ours_spread: spread(&self.ours).map(rounded),
            ceiling_spread: spread(&self.ceiling).map(rounded),
            ..Flow::default()
        }
    }
}

/// Statements a unit.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub(crate) fn per_unit(statements: f64, units: u64) -> f64 {
    statements / (units.max(1) as f64)
}

struct CeilingProgram {
    program: Pinned,
    address: SocketAddr,
}

impl CeilingProgram {
    fn start(shape: TokenShape, static_bytes: usize, cpus: &Cpus, world: &World) -> Result<Self> {
        let port = free_port()?;
        let arguments = [
            "ceiling".to_owned(),
            format!("--port={port}"),
            format!("--static-bytes={static_bytes}"),
            format!("--tokens={}", shape.name()),
        ];
        let log = world.file("ceiling.log");
        let mut program = Pinned::start("ceiling", &beside("nauthera-bench")?, arguments, cpus, &log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            program.process().expect_running()?;
            ensure!(Instant::now() < deadline, "the ceiling does not listen after {START:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { program, address })
    }
}
