//! A line for whoever waits: what runs, and about how long is left.

use std::io::Write as _;
use std::time::{Duration, Instant};

/// The progress of a plan of steps whose lengths are known roughly.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    planned: Duration,
    done: Duration,
    current: Duration,
}

impl Progress {
    /// A plan that takes about `planned` in all.
    pub fn new(planned: Duration) -> Self {
        Self {
            began: Instant::now(),
            planned,
            done: Duration::ZERO,
            current: Duration::ZERO,
        }
    }

    /// Says on standard error that `what` begins, which was planned to take `takes`.
    pub fn step(&mut self, what: &str, takes: Duration) {
        self.done += self.current;
        self.current = takes;
        let left = self.left().as_secs();
        // Nobody may be there to read it.
        let _ = writeln!(
            std::io::stderr(),
            "bench: {what} (about {} min {:02} s left)",
            left / 60,
            left % 60
        );
    }

    /// What is left of the plan, stretched as the part that is done was.
    fn left(&self) -> Duration {
        let planned = self.planned.saturating_sub(self.done);
        if self.done.is_zero() {
            return planned;
        }
        planned.mul_f64(self.began.elapsed().as_secs_f64() / self.done.as_secs_f64())
    }
}
