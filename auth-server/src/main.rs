//! `nauthera-auth`: serves the configuration of a fleet, and the few things that are done by hand beside it.

use clap::{Parser, Subcommand};

use auth_server::app::{App, StartError};
use auth_server::command;
use auth_server::log;
use auth_server::settings::{DatabaseFlags, ServeFlags, Settings};

/// Gives back what a burst of requests or a new configuration needed; the allocator of the system keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How `serve` ends when the database schema is not one that it serves: whoever runs it knows by this that a migration
/// is missing.
const SCHEMA_EXIT_CODE: u8 = 3;

/// The auth server of Nauthera: OpenID Connect and OAuth 2 for many realms.
#[derive(Parser)]
#[command(name = "nauthera-auth", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve people and applications.
    Serve(Box<ServeFlags>),
    /// Bring the database schema to the version of this program. Serving never changes the schema.
    Migrate {
        #[command(flatten)]
        database: DatabaseFlags,
    },
    /// Manage people.
    #[command(subcommand)]
    User(command::user::User),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "what a person who typed a command reads, whether or not logging started"
            )]
            {
                eprintln!("error: {error:#}");
            }
            match error.downcast_ref::<StartError>() {
                Some(StartError::Schema(_)) => std::process::ExitCode::from(SCHEMA_EXIT_CODE),
                _ => std::process::ExitCode::FAILURE,
            }
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match command {
        Command::Serve(flags) => {
            log::start(flags.log_format, &flags.log_level)?;
            let settings = Settings::check(&flags)?;
            runtime.block_on(async {
                let running = App::start(settings).await?;
                command::signal::stop_requested().await?;
                running.stop().await;
                Ok(())
            })
        }
        Command::Migrate { database } => runtime.block_on(command::migrate::run(&database)),
        Command::User(user) => runtime.block_on(command::user::run(user)),
    }
}
