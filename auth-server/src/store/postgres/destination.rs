//! Where the database is: as the settings said at the start, and as the files behind them say since.
//!
//! What the files say is followed once a connection has shown that it is right. Until then, and whatever is wrong with
//! them, the last good settings go on being used.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oidc::Secret;
use tokio::sync::watch;
use tokio_postgres::{Client, Error, NoTls};

use super::pool::ANSWER_LIMIT;
use super::sql;
use super::target::{Target, roots_file};
use crate::store::schema::{self, SchemaLevel};
use crate::store::sql::SCHEMA_LEVEL;
use crate::store::{OpenError, Reread};

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where the database is now.
pub(super) struct Destination {
    reread: Option<Reread>,
    state: Mutex<State>,
    moves: watch::Sender<()>,
    /// Connections of an older generation lead to a server that was demoted, is shutting down, or is not the one any more.
    generation: AtomicU64,
}

struct State {
    said: Said,
    target: Target,
    /// What was wrong with the files when they were looked at last.
    complaint: Option<String>,
}

/// Everything that a target follows from.
#[derive(PartialEq, Eq)]
struct Said {
    url: Secret<String>,
    /// The authorities for the database's certificate.
    roots: Option<Vec<u8>>,
}

/// Where the database is by what the files say.
struct Candidate {
    said: Said,
    target: Target,
}

impl Said {
    fn of(url: Secret<String>) -> Self {
        let roots = roots_file(url.expose()).and_then(|file| std::fs::read(file).ok());
        Self { url, roots }
    }
}

impl Destination {
    pub(super) fn new(url: Secret<String>, reread: Option<Reread>) -> Result<Self, OpenError> {
        let target = Target::parse(url.expose())?;
        Ok(Self {
            reread,
            state: Mutex::new(State {
                said: Said::of(url),
                target,
                complaint: None,
            }),
            moves: watch::Sender::default(),
            generation: AtomicU64::new(0),
        })
    }

    /// Whether there are files that may say something else one day.
    pub(super) fn may_move(&self) -> bool {
        self.reread.is_some()
    }

    /// Where to connect.
    pub(super) fn target(&self) -> Target {
        self.state().target.clone()
    }

    /// Changes when the target does.
    pub(super) fn moves(&self) -> watch::Receiver<()> {
        self.moves.subscribe()
    }

    /// The generation of connections that may be used.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Ends the use of all connections up to that generation.
    pub(super) fn give_up(&self, generation: u64) {
        self.generation.fetch_max(generation + 1, Ordering::AcqRel);
    }

    /// A connection, and its generation: to where the database is, else to where the files say that it is.
    pub(super) async fn open(&self) -> Result<(Client, u64), Error> {
        let generation = self.generation();
        let error = match connect(self.target()).await {
            Ok(client) => return Ok((client, generation)),
            Err(error) => error,
        };
        if let Some(followed) = self.follow().await {
            return Ok(followed);
        }
        match self.generation() {
            // Another connection has found the way meanwhile.
            later if later > generation => connect(self.target()).await.map(|client| (client, later)),
            _ => Err(error),
        }
    }

    /// Looks at the files again and again.
    pub(super) async fn follow_for_ever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let _ = tokio::time::timeout(ANSWER_LIMIT, self.follow()).await;
        }
    }

    /// Follows the files where they lead to a database that can be served. Connections to the former one are then replaced
    /// as they are used.
    async fn follow(&self) -> Option<(Client, u64)> {
        let candidate = self.candidate()?;
        match try_out(candidate.target.clone()).await {
            Ok(client) => Some((client, self.adopt(candidate))),
            Err(reason) => {
                self.complain(reason);
                None
            }
        }
    }

    /// What the files say, unless it is what is used already.
    fn candidate(&self) -> Option<Candidate> {
        let said = match self.reread.as_ref()?.read() {
            Ok(url) => Said::of(url),
            Err(reason) => {
                self.complain(reason);
                return None;
            }
        };
        if said == self.state().said {
            self.state().complaint = None;
            return None;
        }
        match Target::parse(said.url.expose()) {
            Ok(target) => Some(Candidate { said, target }),
            Err(error) => {
                self.complain(crate::log::chain(&error));
                None
            }
        }
    }

    /// Uses from now on what the files say; returns the generation of connections that do.
    fn adopt(&self, Candidate { said, target }: Candidate) -> u64 {
        let mut state = self.state();
        if state.said == said {
            return self.generation();
        }
        *state = State {
            said,
            target,
            complaint: None,
        };
        self.moves.send_replace(());
        tracing::info!("the database is reached by the changed settings");
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Says once what is wrong with what the files say.
    fn complain(&self, reason: String) {
        let mut state = self.state();
        if state.complaint.as_ref() != Some(&reason) {
            tracing::warn!(
                reason,
                "the changed database settings cannot be used; the former ones stay in use"
            );
            state.complaint = Some(reason);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects and leaves a task behind that drives the connection until it closes.
async fn connect(target: Target) -> Result<Client, Error> {
    let client = if let Some(tls) = target.tls {
        let (client, connection) = target.config.connect(tls).await?;
        tokio::spawn(async move { log_end(connection.await) });
        client
    } else {
        let (client, connection) = target.config.connect(NoTls).await?;
        tokio::spawn(async move { log_end(connection.await) });
        client
    };
    client.batch_execute(sql::SETTINGS).await?;
    Ok(client)
}

fn log_end(end: Result<(), Error>) {
    if let Err(error) = end {
        tracing::debug!(error = %described(&error), "database connection ended");
    }
}

/// The driver's `Display` leaves out what the server said.
pub(super) fn described(error: &Error) -> String {
    error.as_db_error().map_or_else(
        || match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
        |answer| format!("{} ({})", answer.message(), answer.code().code()),
    )
}

/// A connection to a database that this program can serve, or why there is none.
async fn try_out(target: Target) -> Result<Client, String> {
    let client = connect(target).await.map_err(|error| described(&error))?;
    let row = client.query_opt(SCHEMA_LEVEL, &[]).await;
    let row = row.map_err(|error| described(&error))?;
    let level = |name: &str| -> Result<i32, String> {
        let found = row.as_ref().map(|row| row.try_get(name)).transpose();
        Ok(found.map_err(|error| described(&error))?.unwrap_or_default())
    };
    let found = SchemaLevel {
        level: level("level")?,
        usable_from: level("usable_from")?,
    };
    schema::check(found).map_err(|error| error.to_string())?;
    Ok(client)
}
