//! Logs of `run`: one line per event on standard error, as JSON or for people.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Aligned text.
    Human,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not readable.
    #[error("log level \"{level}\" is neither a level (error, warn, info, debug, trace) nor a list of target=level")]
    Level {
        /// What was given.
        level: String,
        /// Why it is not readable.
        source: tracing_subscriber::filter::ParseError,
    },
    /// This process logs already.
    #[error("logging was already started")]
    AlreadyStarted,
}

/// Starts logging. `level` is a level or a list of `target=level` pairs. Fails when the list cannot be read.
pub fn start(format: LogFormat, level: &str) -> Result<(), LogError> {
    // The client warns about every refused list by itself; the cache says it once.
    let filter = EnvFilter::try_new(format!("kube_runtime=error,{level}")).map_err(|source| LogError::Level {
        level: level.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
        LogFormat::Human => lines.compact().try_init(),
    }
    .map_err(|_| LogError::AlreadyStarted)
}

/// An error with everything that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        // Some errors repeat their cause themselves.
        if !text.ends_with(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}
