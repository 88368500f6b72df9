//! The threads that talk to the file: one writes, two read. A bounded queue leads to each kind.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oidc::store::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::store::rows::{inconsistent, unavailable};

/// How long a request waits for its turn.
const WAIT_LIMIT: Duration = Duration::from_secs(2);
/// How long a statement waits for another process.
const BUSY_LIMIT: Duration = Duration::from_secs(2);
/// Requests waiting for one kind of thread.
const QUEUE: usize = 256;
const READERS: usize = 2;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What went wrong on a thread.
#[derive(Debug)]
pub(super) enum Failed {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Store(error) => error,
            Failed::Sqlite(error) => match error.sqlite_error_code() {
                Some(
                    ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::OutOfMemory,
                ) => unavailable(error),
                _ => inconsistent(error),
            },
        }
    }
}

/// No turn in time.
#[derive(Debug, thiserror::Error)]
#[error("SQLite threads are busy")]
struct Busy;

/// The queues. Dropping them ends the threads.
#[derive(Debug)]
pub(super) struct Lanes {
    writer: mpsc::Sender<Job>,
    readers: mpsc::Sender<Job>,
    statements: AtomicU64,
}

/// A connection to the file, with the settings that several processes on one file need.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_LIMIT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Changing the journal mode does not wait by itself; another process may be changing it right now.
    let mut tries = 0;
    while let Err(error) = connection.pragma_update(None, "journal_mode", "wal") {
        tries += 1;
        if tries == 40 || error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // A code that was spent stays spent when the power fails.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

impl Lanes {
    pub(super) fn start(path: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self {
            writer: lane(path, "store-write", 1)?,
            readers: lane(path, "store-read", READERS)?,
            statements: AtomicU64::new(0),
        })
    }

    pub(super) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Reads on one of the reading threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(&self.readers, move |connection| work(connection)).await
    }

    /// Runs `work` in one transaction that holds the write lock from its beginning; commits unless it fails.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(&self.writer, move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = work(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        lane: &mpsc::Sender<Job>,
        work: impl FnOnce(&mut Connection) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waits any more: do not begin.
            if !answer.is_closed() {
                let _ = answer.send(work(connection));
            }
        });
        let waited = async {
            lane.send(job).await.map_err(|_| Busy)?;
            answered.await.map_err(|_| Busy)
        };
        self.statements.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(WAIT_LIMIT + BUSY_LIMIT, waited).await {
            Ok(Ok(done)) => Ok(done?),
            Ok(Err(busy)) => Err(unavailable(busy)),
            Err(_) => Err(unavailable(Busy)),
        }
    }
}

/// Starts threads that share one queue.
fn lane(
    path: &Path,
    name: &str,
    threads: usize,
) -> Result<mpsc::Sender<Job>, Box<dyn std::error::Error + Send + Sync>> {
    let (sender, receiver) = mpsc::channel::<Job>(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let mut connection = connect(path)?;
        let receiver = receiver.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            loop {
                let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                match job {
                    Some(job) => job(&mut connection),
                    None => return,
                }
            }
        })?;
    }
    Ok(sender)
}
