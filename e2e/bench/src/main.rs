//! `nauthera-bench`: the command line of the benchmark.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use bench::ceiling::{self, Ceiling};
use bench::report::Report;
use bench::settings::Settings;
use bench::{convergence, flows, growth, peers, plot, publish};
use clap::{Parser, Subcommand};

/// The product's: what it is measured beside has the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// What a request, a realm and a client cost with ever more of them, and how fast a server starts.
    Growth(Settings),
    /// How fast an edit arrives at 50 servers, and how long the operator compiles.
    Convergence(Settings),
    /// Where the server's time goes in each flow, as flame graphs and a table (`make bench-profile` fetches what draws them).
    Profile(Settings),
    /// Other servers under the same load, on the same core (`make bench-peers` fetches them).
    Peers(Settings),
    /// Put tables and plots of bench.json into docs/performance.md and docs/images.
    Publish(Settings),
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
            growth::run(&cli.settings)?;
            convergence::run(&cli.settings)?;
            show(&cli.settings)
        }
        Some(Command::Flows(settings)) => {
            flows::run(&settings)?;
            show(&settings)
        }
        Some(Command::Growth(settings)) => {
            growth::run(&settings)?;
            show(&settings)
        }
        Some(Command::Convergence(settings)) => {
            convergence::run(&settings)?;
            show(&settings)
        }
        Some(Command::Profile(settings)) => {
            flows::profile(&settings)?;
            show(&settings)
        }
        Some(Command::Peers(settings)) => {
            peers::run(&settings)?;
            show(&settings)
        }
        Some(Command::Publish(settings)) => {
            let report = Report::load(&settings.out)?;
            let docs = e2e::parts::checkout().join("docs");
            let page = docs.join("performance.md");
            std::fs::write(
                &page,
                publish::page(&std::fs::read_to_string(&page)?, &report.markdown())?,
            )?;
            plot::draw(&report, &docs.join("images"))
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
