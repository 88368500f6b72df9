//! `nauthera-bench`: the command line of the benchmark.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use bench::ceiling::{self, Ceiling};
use bench::flows;
use bench::report::Report;
use bench::settings::Settings;
use clap::{Parser, Subcommand};

/// How fast the auth server is, how small, and how it grows, beside what the machine could do at most.
#[derive(Parser)]
#[command(name = "nauthera-bench", version, args_conflicts_with_subcommands = true)]
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
    /// Be the program that ours is measured beside; started by the others.
    #[command(hide = true)]
    Ceiling(Ceiling),
    /// Hash passwords for so many seconds, and print how many; started by the others.
    #[command(hide = true)]
    Hash {
        /// Seconds.
        seconds: f64,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => {
            flows::run(&cli.settings)?;
            show(&cli.settings)
        }
        Some(Command::Flows(settings)) => {
            flows::run(&settings)?;
            show(&settings)
        }
        Some(Command::Ceiling(ceiling)) => ceiling::serve(&ceiling),
        Some(Command::Hash { seconds }) => {
            let hashed = flows::hash_for(Duration::from_secs_f64(seconds.clamp(0.01, 3600.0)))?;
            say(&serde_json::to_string(&hashed)?)
        }
    }
}

/// Prints what was written.
fn show(settings: &Settings) -> Result<()> {
    say(&Report::load(&settings.out)?.markdown())
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(Into::into)
}
