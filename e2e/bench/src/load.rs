//! The load generator: one thread, keep-alive HTTP/1.1, requests written ahead as bytes, answers read and judged.
//!
//! Two ways to press. *Closed*: every connection sends its next request when it has its answer, which finds what the
//! server can do. *Open*: units of work begin at random moments of a given rate (Poisson arrivals, as from many people
//! who know nothing of each other) whether or not the server keeps up, and latency counts from the moment that a unit
//! was due, so that a stall of the server is not hidden by a client that waited politely (coordinated omission).
//! Nothing that was refused or answered wrongly is ever counted: it ends the run.

mod connection;
mod open;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use self::connection::Connection;
use self::open::Arrivals;

/// The longest that a unit may take before the run has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// So much before an arrival is due the generator stops sleeping: timers of the kernel are late by about as much.
const WAKE_BEFORE: Duration = Duration::from_micros(80);

/// What one connection sends, and what it makes of the answers. One unit of work is one or several requests.
pub trait Source: Send {
    /// Writes the next request, whole, behind what is in `request` (which is empty).
    fn write(&mut self, request: &mut Vec<u8>);

    /// Judges the answer to it. An error ends the run: nothing that went wrong is counted.
    fn read(&mut self, answer: &Answer<'_>) -> Result<Progress>;
}

/// One source a connection.
pub type Sources = Vec<Box<dyn Source>>;

/// Whether a unit of work is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its last answer is here.
    Complete,
    /// It needs another request.
    More,
}

/// An HTTP answer, read whole.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Status code.
    pub status: u16,
    /// Headers in order.
    pub headers: &'a [httparse::Header<'a>],
    /// The body.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The first header of this name (in lower case), as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    }

    /// Fails with the body when the status is another.
    pub fn expect(&self, status: u16) -> Result<()> {
        ensure!(
            self.status == status,
            "answered {} instead of {status}: {}",
            self.status,
            String::from_utf8_lossy(self.body)
        );
        Ok(())
    }
}

/// How hard to press.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As hard as the connections can.
    Closed,
    /// So many units a second, at random moments.
    Open {
        /// Units a second.
        rate: f64,
    },
}

/// One run.
pub struct Load<'a> {
    /// Where the server listens.
    pub address: SocketAddr,
    /// How hard.
    pub pace: Pace,
    /// Pressed but not measured, so that caches are warm and the pace is steady.
    pub warm_up: Duration,
    /// Measured.
    pub measure: Duration,
    /// The CPU time of the server since its start; read when measuring begins and when it ends.
    pub meter: &'a dyn Fn() -> Result<Duration>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Units completed while measuring.
    pub units: u64,
    /// Units completed in all, with those of the warm-up and of the end.
    pub total: u64,
    /// Within this time.
    pub elapsed: Duration,
    /// With so much CPU time of the server.
    pub cpu: Duration,
    /// Nanoseconds each took, from when it was due (open) or sent (closed).
    pub latency: Histogram<u64>,
}

impl Outcome {
    /// Units per second of the server's CPU time.
    pub fn per_cpu_second(&self) -> f64 {
        ratio(self.units, self.cpu)
    }

    /// Units per second of the clock.
    pub fn per_second(&self) -> f64 {
        ratio(self.units, self.elapsed)
    }

    /// The latency that this share (0 to 1) of the units stayed below, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        milliseconds(self.latency.value_at_quantile(share))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn ratio(units: u64, time: Duration) -> f64 {
    units as f64 / time.as_secs_f64().max(f64::EPSILON)
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 ns")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// An empty histogram of nanoseconds, up to a minute, with three digits.
pub fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).context("histogram")
}

/// Presses `sources` (one connection each) on the server. When it returns, no unit is in flight: the sources can be used
/// again.
pub fn drive(load: &Load<'_>, sources: &mut [Box<dyn Source>]) -> Result<Outcome> {
    ensure!(!sources.is_empty(), "a load needs a connection");
    let mut driver = Driver::connect(
        load.address,
        sources.iter_mut().map(|source| &mut **source as &mut dyn Source),
    )?;
    let mut arrivals = match load.pace {
        Pace::Closed => None,
        Pace::Open { rate } => Some(Arrivals::new(rate)),
    };
    driver.until(Instant::now() + load.warm_up, &mut arrivals)?;
    let mut total = driver.latency.len();
    driver.latency.reset();
    let (began, cpu) = (Instant::now(), (load.meter)()?);
    driver.until(began + load.measure, &mut arrivals)?;
    // Sign-ins are hashed by threads that wait for a core that nobody else wants.
    while driver.latency.is_empty() && began.elapsed() < STARVED {
        driver.until(Instant::now() + load.measure, &mut arrivals)?;
    }
    let (elapsed, cpu) = (began.elapsed(), (load.meter)()?.saturating_sub(cpu));
    let latency = driver.latency.clone();
    total += driver.finish()?;
    Ok(Outcome {
        units: latency.len(),
        total,
        elapsed,
        cpu,
        latency,
    })
}

/// How long a first answer is waited for on a machine that is busy with something else.
const STARVED: Duration = Duration::from_secs(20);

/// One unit of work by itself.
pub fn once(address: SocketAddr, source: &mut dyn Source) -> Result<()> {
    let mut driver = Driver::connect(address, std::iter::once(source))?;
    driver.begin_due(Instant::now(), None)?;
    driver.finish()?;
    Ok(())
}

struct Driver<'s> {
    epoll: rustix::fd::OwnedFd,
    events: Vec<epoll::Event>,
    connections: Vec<Connection<'s>>,
    idle: Vec<usize>,
    latency: Histogram<u64>,
}

impl<'s> Driver<'s> {
    fn connect(address: SocketAddr, sources: impl Iterator<Item = &'s mut dyn Source>) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for (number, source) in sources.enumerate() {
            let connection = Connection::open(address, source)?;
            let data = epoll::EventData::new_u64(number.try_into()?);
            epoll::add(&epoll, connection.stream(), data, epoll::EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self {
            epoll,
            events: Vec::with_capacity(connections.len()),
            idle: (0..connections.len()).rev().collect(),
            connections,
            latency: histogram()?,
        })
    }

    /// Presses until `end`; units stay in flight.
    fn until(&mut self, end: Instant, arrivals: &mut Option<Arrivals>) -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.begin_due(now, arrivals.as_mut())?;
            let due = arrivals.as_ref().map_or(end, |arrivals| arrivals.next().min(end));
            // With every connection busy only an answer can change anything.
            let until = if self.idle.is_empty() { end } else { due };
            self.wait(
                until
                    .saturating_duration_since(Instant::now())
                    .saturating_sub(WAKE_BEFORE),
            )?;
            self.read_answers()?;
        }
    }

    /// Lets what is in flight end, and begins nothing. Returns how many units ended since measuring began.
    fn finish(mut self) -> Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        while self.idle.len() < self.connections.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "requests are not answered after {PATIENCE:?}");
            self.wait(left)?;
            self.read_answers()?;
        }
        Ok(self.latency.len())
    }

    fn begin_due(&mut self, now: Instant, arrivals: Option<&mut Arrivals>) -> Result<()> {
        match arrivals {
            None => {
                while let Some(number) = self.idle.pop() {
                    self.begin(number, now)?;
                }
            }
            Some(arrivals) => {
                while let Some(number) = self.idle.last().copied() {
                    let Some(due) = arrivals.take_due(now) else { break };
                    self.idle.pop();
                    self.begin(number, due)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, number: usize, due: Instant) -> Result<()> {
        let connection = self.connections.get_mut(number).context("no such connection")?;
        connection.begin(due)
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into()?,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("epoll"),
        }
    }

    fn read_answers(&mut self) -> Result<()> {
        for event in &self.events {
            let number = usize::try_from(event.data.u64())?;
            let connection = self.connections.get_mut(number).context("no such connection")?;
            if let Some(due) = connection.read()? {
                let nanoseconds = due.elapsed().as_nanos();
                self.latency.saturating_record(u64::try_from(nanoseconds)?.max(1));
                self.idle.push(number);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
