//! `nauthera-bench`: how fast, how small, how it grows, beside what the machine could do at most. `make bench` runs it.
//!
//! The server under test is the real binary on a core of its own; what it is compared with ([`ceiling`]) runs on the same
//! core in the same minute, in rounds that take turns, and is charged in CPU time, not by the clock. So the ratios hold on
//! a shared machine, too. Nothing passes or fails by time.

mod fleet;
mod flows;
mod load;
mod machine;
mod pinned;
mod report;
mod server;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "nauthera-bench", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// One part alone; everything without.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Each flow beside its ceiling, and what the server needs of memory.
    Flows(Settings),
}

/// How thoroughly, and where the result goes.
#[derive(Args, Clone, Debug)]
struct Settings {
    /// Seconds of one measured round.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Rounds of ours, each beside one of the ceiling.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// Only flows whose names contain this.
    #[arg(long, env = "BENCH_ONLY", default_value = "")]
    only: String,
    /// Folder of bench.json and bench.md.
    #[arg(long, env = "BENCH_OUT", default_value = "target/bench")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => flows::run(&cli.settings),
        Some(Command::Flows(settings)) => flows::run(&settings),
    }
}
