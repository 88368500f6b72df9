//! The command line of the operator.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use crds::admission::Admission;
use oidc::Timestamp;
use operator::validate;

/// Turns custom resources into a running identity platform.
#[derive(Parser)]
#[command(name = "nauthera-operator", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check folders of YAML files as the API server and then the operator would.
    ///
    /// Applies schema, defaults and CEL rules, then judges all objects together: references, admission, conflicts.
    /// Exits 0 when everything would be accepted, 1 when something has to be corrected, 2 for a wrong call.
    Validate {
        /// Folders (or files) that are judged together.
        #[arg(required = true, value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// How the result is printed.
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the CustomResourceDefinitions, ready for `kubectl apply -f -`.
    Crds,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Validate { folders, output } => {
            let admission = Admission::new()?;
            let now = Timestamp::from_unix_millis(jiff::Timestamp::now().as_millisecond());
            let report = validate::validate(&folders, &admission, now)?;
            let text = match output {
                Output::Text => validate::text(&report),
                Output::Json => validate::json(&report)? + "\n",
            };
            print(&text)?;
            Ok(if report.is_valid() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(1)
            })
        }
        Command::Crds => {
            for (_, manifest) in crds::manifests::manifests()? {
                print("---\n")?;
                print(&manifest)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}
