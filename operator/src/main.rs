//! The command line of the operator.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use crds::admission::Admission;
use oidc::Timestamp;
use operator::run::{RunFlags, Settings};
use operator::{dev, log, validate};

/// Gives back what a burst of changes or a round needed; the allocator of the system keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Run the whole platform on this machine from a folder of YAML files, and follow its changes.
    ///
    /// The folder holds one AuthServer with its Realms and Clients. Starts auth servers behind one address, creates the
    /// person ada in every realm, and serves a small demo application to sign in to. A saved change is live a moment
    /// later, and is reported when every server has it. Ctrl-C stops all of it.
    Dev {
        /// The folder with the custom resources.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Address of the auth servers. The issuers in the folder must match it.
        #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
        listen: SocketAddr,
        /// Folder for generated keys and Secrets, people and logs [default: one for each FOLDER, below
        /// $XDG_STATE_HOME or ~/.local/state].
        #[arg(long = "state-dir", alias = "state", value_name = "DIR")]
        state: Option<PathBuf>,
        /// How many auth servers run behind the address.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
        replicas: u8,
        /// Keep generated keys, Secrets and people in a temporary folder, removed at the end.
        #[arg(long, conflicts_with = "state")]
        ephemeral: bool,
    },
    /// Run the operator in a cluster: that of the pod that this is, or of KUBECONFIG.
    Run(Box<RunFlags>),
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
        Command::Dev {
            folder,
            listen,
            state,
            replicas,
            ephemeral,
        } => {
            log_to_stderr();
            let replicas = usize::from(replicas);
            let options = dev::Options {
                folder,
                listen,
                state,
                replicas,
                ephemeral,
            };
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(dev::run(&options, &mut std::io::stdout()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(flags) => {
            let settings = Settings::check(&flags)?;
            log::start(flags.log_format, &flags.log_level)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(operator::run::run(settings))?;
            // A lookup or a key that is still being made must not hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            Ok(ExitCode::SUCCESS)
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

/// What people need is printed; the log holds what goes wrong behind it.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("NAUTHERA_LOG_LEVEL")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")
}
