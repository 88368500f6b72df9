//! Pooled connections that keep their prepared statements, and what a failed statement means for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bb8::{ManageConnection, PooledConnection};
use oidc::store::StoreError;
use tokio::runtime::Handle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row, Statement};

use super::destination::{Destination, described};
use super::outage::Outage;
use crate::store::rows::{inconsistent, unavailable};

/// How long a request waits for a connection.
const WAIT_LIMIT: Duration = Duration::from_millis(1800);
/// How long a request waits for an answer; the server gives up later by itself (`statement_timeout`).
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// One connection and what it has prepared.
pub(super) struct Connection {
    pub(super) client: Client,
    statements: HashMap<&'static str, Statement>,
    generation: u64,
    broken: bool,
}

impl Connection {
    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Opens connections on the store's runtime, whoever asks.
pub(super) struct Connector {
    destination: Arc<Destination>,
    runtime: Handle,
    outage: Arc<Outage>,
}

impl ManageConnection for Connector {
    type Connection = Connection;
    type Error = Lost;

    async fn connect(&self) -> Result<Connection, Lost> {
        let (began, destination) = (Instant::now(), Arc::clone(&self.destination));
        let opened = self
            .runtime
            .spawn(async move { tokio::time::timeout(ANSWER_LIMIT, destination.open()).await })
            .await;
        let failure = match opened {
            Ok(Ok(Ok((client, generation)))) => {
                self.outage.succeeded(Instant::now());
                return Ok(Connection {
                    client,
                    statements: HashMap::new(),
                    generation,
                    broken: false,
                });
            }
            Ok(Ok(Err(error))) => described(&error),
            Ok(Err(_)) => "connecting took too long".to_owned(),
            Err(_) => "shutting down".to_owned(),
        };
        self.outage.failed(began, Instant::now(), failure.clone());
        Err(Lost(failure))
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Lost> {
        if self.has_broken(connection) {
            Err(Lost("connection closed".to_owned()))
        } else {
            Ok(())
        }
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.broken || connection.client.is_closed() || connection.generation < self.destination.generation()
    }
}

/// No connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Lost(String);

/// Whether a statement may run again when nobody knows if it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A second run gives the same answer and changes nothing more.
    Harmless,
    /// A second run would be taken for a second request.
    Never,
}

/// Why a statement gave no rows.
enum Failure {
    /// No connection in time; nothing was sent.
    NoConnection(Lost),
    /// The server took too long.
    TimedOut,
    /// The server rolled the statement back, or the connection broke.
    Statement(Error),
}

/// What a failed statement says about its connection and about a second try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    /// Rolled back, the connection is good: deadlock, serialization.
    TryAgain,
    /// Rolled back by a server that is not (any more) the primary, or has forgotten our prepared statement.
    WrongServer,
    /// The connection is gone; the statement may have run.
    Gone,
    /// Refused for now: too many connections, statement timeout, out of disk.
    Refused,
    /// A defect.
    Defect,
}

fn sense(error: &Error) -> Sense {
    let Some(code) = error.code() else {
        return if error.is_closed() || error_is_io(error) {
            Sense::Gone
        } else {
            Sense::Defect
        };
    };
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::FEATURE_NOT_SUPPORTED
        || *code == SqlState::INVALID_SQL_STATEMENT_NAME
    {
        Sense::WrongServer
    } else if code.code().starts_with("40") {
        Sense::TryAgain
    } else if code.code().starts_with("57P") || code.code().starts_with("08") {
        Sense::Gone
    } else if code.code().starts_with("53") || code.code().starts_with("57") || code.code().starts_with("55") {
        Sense::Refused
    } else {
        Sense::Defect
    }
}

fn error_is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

impl Failure {
    fn worth_repeating(&self, repeat: Repeat) -> bool {
        match self {
            Self::NoConnection(_) | Self::TimedOut => false,
            Self::Statement(error) => match sense(error) {
                Sense::TryAgain | Sense::WrongServer => true,
                Sense::Gone => repeat == Repeat::Harmless,
                Sense::Refused | Sense::Defect => false,
            },
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoConnection(lost) => unavailable(lost),
            Failure::TimedOut => unavailable(Lost("database did not answer in time".to_owned())),
            Failure::Statement(error) => match sense(&error) {
                Sense::Defect => inconsistent(error),
                Sense::TryAgain | Sense::WrongServer | Sense::Gone | Sense::Refused => unavailable(error),
            },
        }
    }
}

/// The pool. Statements go through [`Pool::query`]; nothing else takes part in the budget.
pub(super) struct Pool {
    connections: bb8::Pool<Connector>,
    destination: Arc<Destination>,
    outage: Arc<Outage>,
    size: u32,
    statements: AtomicU64,
}

impl Pool {
    pub(super) fn new(destination: Destination, size: u32, runtime: &Handle) -> Self {
        let destination = Arc::new(destination);
        let outage = Arc::new(Outage::default());
        let connector = Connector {
            destination: Arc::clone(&destination),
            runtime: runtime.clone(),
            outage: Arc::clone(&outage),
        };
        if destination.may_move() {
            runtime.spawn(Arc::clone(&destination).follow_for_ever());
        }
        // The pool spawns its maintenance where it is built.
        let _inside = runtime.enter();
        let connections = bb8::Pool::builder()
            .max_size(size.max(1))
            .connection_timeout(WAIT_LIMIT)
            .test_on_check_out(false)
            .max_lifetime(Duration::from_mins(30))
            .idle_timeout(Duration::from_mins(10))
            .build_unchecked(connector);
        Self {
            connections,
            destination,
            outage,
            size,
            statements: AtomicU64::new(0),
        }
    }

    pub(super) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Runs one statement, a second time if the first one failed and that is safe.
    pub(super) async fn query(
        &self,
        repeat: Repeat,
        sql: &'static str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        match self.query_once(sql, params).await {
            Err(failure) if failure.worth_repeating(repeat) => Ok(self.query_once(sql, params).await?),
            other => Ok(other?),
        }
    }

    async fn query_once(
        &self,
        sql: &'static str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let mut connection = self.checkout().await.map_err(Failure::NoConnection)?;
        let run = async {
            let statement = connection.prepared(sql).await?;
            self.statements.fetch_add(1, Ordering::Relaxed);
            connection.client.query(&statement, params).await
        };
        let outcome = tokio::time::timeout(ANSWER_LIMIT, run).await;
        match outcome {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                self.judge(&mut connection, &error);
                Err(Failure::Statement(error))
            }
            Err(_) => {
                connection.broken = true;
                Err(Failure::TimedOut)
            }
        }
    }

    /// Marks what must not be used again after that error.
    fn judge(&self, connection: &mut Connection, error: &Error) {
        match sense(error) {
            Sense::TryAgain | Sense::Refused | Sense::Defect => {}
            Sense::WrongServer | Sense::Gone => {
                connection.broken = true;
                // Its siblings lead to the same server.
                self.destination.give_up(connection.generation);
            }
        }
    }

    /// A connection that was alive a moment ago. Closed ones are noticed here, before anything is sent.
    async fn checkout(&self) -> Result<PooledConnection<'_, Connector>, Lost> {
        for _ in 0..=self.size {
            if self.in_outage() {
                return Err(self.last_failure());
            }
            match self.connections.get().await {
                Ok(connection) => {
                    let usable = !connection.broken
                        && !connection.client.is_closed()
                        && connection.generation >= self.destination.generation();
                    if usable {
                        return Ok(connection);
                    }
                }
                Err(bb8::RunError::User(lost)) => return Err(lost),
                Err(bb8::RunError::TimedOut) => return Err(self.last_failure()),
            }
        }
        Err(self.last_failure())
    }

    /// Connecting failed a moment ago and no connection is open: waiting would only pile up requests.
    fn in_outage(&self) -> bool {
        self.connections.state().connections == 0 && self.outage.is_recent(Instant::now())
    }

    fn last_failure(&self) -> Lost {
        let reason = self.outage.reason();
        Lost(reason.unwrap_or_else(|| "all database connections are busy".to_owned()))
    }

    /// A connection of its own for a transaction of the command line, outside the budget of requests.
    pub(super) async fn dedicated(&self, runtime: &Handle) -> Result<Client, StoreError> {
        let destination = Arc::clone(&self.destination);
        match runtime.spawn(async move { destination.open().await }).await {
            Ok(connected) => connected.map(|(client, _)| client).map_err(failed),
            Err(_) => Err(unavailable(Lost("shutting down".to_owned()))),
        }
    }

    pub(super) fn destination(&self) -> &Arc<Destination> {
        &self.destination
    }
}

/// The error of a statement outside the pool.
pub(super) fn failed(error: Error) -> StoreError {
    Failure::Statement(error).into()
}
