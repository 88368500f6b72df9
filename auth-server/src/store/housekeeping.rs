//! The housekeeping: deletes what has expired, in small batches, by one replica at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::Database;
use crate::clock;

/// Between two rounds when there is nothing left to do.
const EVERY: Duration = Duration::from_mins(1);
/// Between two batches of a round.
const PAUSE: Duration = Duration::from_millis(500);
/// Rows of one table in one statement.
const BATCH: u32 = 1000;
/// What expired so recently stays: clocks differ.
const MARGIN: Duration = Duration::from_mins(1);

/// A running housekeeping; dropping it ends it.
#[derive(Debug)]
pub struct Housekeeping {
    _task: AbortOnDropHandle<()>,
}

impl Housekeeping {
    /// Starts on the database's own runtime.
    pub fn start(database: Arc<dyn Database>) -> Self {
        let runtime = database.runtime().clone();
        Self {
            _task: AbortOnDropHandle::new(runtime.spawn(run(database))),
        }
    }
}

async fn run(database: Arc<dyn Database>) {
    loop {
        let before = clock::now().before(MARGIN);
        let pause = match database.delete_expired(before, BATCH).await {
            Ok(deleted) if deleted >= u64::from(BATCH) => PAUSE,
            Ok(_) => EVERY,
            Err(error) => {
                tracing::debug!(%error, "expired rows stay for now");
                EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
