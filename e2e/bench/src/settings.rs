//! How thoroughly to measure. Every flag can also be given in the environment, which is how `make bench` hands them on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::load::{Load, Pace};

/// How thoroughly, and where the result goes.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Seconds of one measured round.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 1.5)]
    pub seconds: f64,
    /// Rounds of ours, each beside one of the ceiling.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    pub rounds: usize,
    /// Only flows whose names contain this, or one of these with commas between.
    #[arg(long, env = "BENCH_ONLY", default_value = "")]
    pub only: String,
    /// Folder of bench.json and bench.md.
    #[arg(long, env = "BENCH_OUT", default_value = "target/bench")]
    pub out: PathBuf,
}

impl Settings {
    /// Whether the flow of this name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.split(',').any(|part| name.contains(part))
    }

    /// One round with its warm-up.
    pub fn round(&self) -> Duration {
        self.warm_up() + self.measure()
    }

    /// All rounds of one flow with their ceilings, and the latencies of both.
    pub fn contest(&self) -> Duration {
        self.round() * u32::try_from(self.rounds * 2 + 6).unwrap_or(u32::MAX)
    }

    fn warm_up(&self) -> Duration {
        self.measure() / 5
    }

    fn measure(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 3600.0))
    }

    /// One round on the server at `address`.
    pub fn load<'a>(&self, address: SocketAddr, pace: Pace, meter: &'a dyn Fn() -> Result<Duration>) -> Load<'a> {
        Load {
            address,
            pace,
            warm_up: self.warm_up(),
            measure: self.measure(),
            meter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_chosen_by_parts_of_their_names() {
        let settings = |only: &str| Settings {
            seconds: 1.0,
            rounds: 1,
            only: only.to_owned(),
            out: PathBuf::new(),
        };
        assert!(settings("").wants("jwks"));
        assert!(settings("code,jwks").wants("jwks") && !settings("code").wants("jwks"));
    }
}
