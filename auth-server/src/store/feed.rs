//! The feed: carries what any replica revoked into the memory of this one.
//!
//! Each second one statement reads what was recorded in the last 30 seconds. The overlap is there because the order of
//! recording is not the order of committing: a statement may commit up to its time limit (10 s) later than it recorded.
//! After a gap longer than the rest of the overlap, an error, or another server's answer, everything is read again.
//! A notification only makes the next read come earlier.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oidc::Timestamp;
use oidc::revocation::Revocations;
use oidc::store::StoreError;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Database, Extent, Recorded};
use crate::clock;

/// Between two reads when nothing wakes the feed.
const EVERY: Duration = Duration::from_secs(1);
/// Between two reads at least, however often it is woken.
const AT_LEAST: Duration = Duration::from_millis(20);
/// How far back a read reaches.
const OVERLAP: Duration = Duration::from_secs(30);
/// After a longer gap between two reads everything is read: the overlap less the longest statement, less a margin.
const LONGEST_GAP: Duration = Duration::from_secs(15);
/// A read that takes longer has failed.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// A server whose clock differs more from the database's is not ready.
pub const SKEW_LIMIT: Duration = Duration::from_secs(5);
/// Between two rounds of forgetting what has expired.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// A running feed; dropping it ends it.
#[derive(Debug)]
pub struct Feed {
    status: Arc<FeedStatus>,
    _task: AbortOnDropHandle<()>,
}

impl Feed {
    /// Starts to fill `revocations` from `database`, on the database's own runtime.
    pub fn start(database: Arc<dyn Database>, revocations: Arc<Revocations>) -> Self {
        let status = Arc::new(FeedStatus::default());
        let runtime = database.runtime().clone();
        let task = runtime.spawn(run(database, revocations, status.clone()));
        Self {
            status,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// What readiness and metrics ask.
    pub fn status(&self) -> Arc<FeedStatus> {
        self.status.clone()
    }
}

/// How the feed is doing. Reading it takes no lock.
#[derive(Debug, Default)]
pub struct FeedStatus {
    complete: AtomicBool,
    good_at: AtomicI64,
    skew_millis: AtomicI64,
    entries: AtomicU64,
    reads: AtomicU64,
    full_reads: AtomicU64,
    failures: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl FeedStatus {
    /// Whether everything was read at least once.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// When the last good read began, by this host's clock.
    pub fn last_good_read(&self) -> Option<Timestamp> {
        self.is_complete()
            .then(|| Timestamp::from_unix_millis(self.good_at.load(Ordering::Acquire)))
    }

    /// How far the database's clock is ahead of this host's, in milliseconds; negative: behind.
    pub fn clock_skew_millis(&self) -> i64 {
        self.skew_millis.load(Ordering::Acquire)
    }

    /// Whether this host's clock is close enough to the database's ([`SKEW_LIMIT`]).
    pub fn clock_agrees(&self) -> bool {
        u128::from(self.clock_skew_millis().unsigned_abs()) <= SKEW_LIMIT.as_millis()
    }

    /// Revocations in memory.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Good reads so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Good reads of everything so far.
    pub fn full_reads(&self) -> u64 {
        self.full_reads.load(Ordering::Relaxed)
    }

    /// Failed reads so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why the last read failed; `None` after a good one.
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the last good read leaves for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    database_clock: Timestamp,
    incarnation: i64,
}

/// Whether the overlapping read `now` may have missed something since `before`.
fn has_gap(before: Seen, now: Seen) -> bool {
    now.incarnation != before.incarnation
        || now.database_clock < before.database_clock
        || now.database_clock.since(before.database_clock) > LONGEST_GAP
}

async fn run(database: Arc<dyn Database>, revocations: Arc<Revocations>, status: Arc<FeedStatus>) {
    let wake = Arc::new(Notify::new());
    let _watch = database.watch(wake.clone());
    let mut seen = None;
    let mut forgotten_at = clock::now();
    loop {
        let began = clock::now();
        match read(database.as_ref(), &revocations, &status, seen).await {
            Ok(now_seen) => {
                revocations.complete_as_of(began);
                status.good_at.store(began.unix_millis(), Ordering::Release);
                status.complete.store(true, Ordering::Release);
                seen = Some(now_seen);
                if forget_failure(&status) {
                    tracing::info!("revocations are read from the database again");
                }
            }
            Err(error) => {
                seen = None;
                note_failure(&status, &error);
            }
        }
        if clock::now().since(forgotten_at) >= FORGET_EVERY || clock::now() < forgotten_at {
            forgotten_at = clock::now();
            let left = revocations.forget_expired(forgotten_at.before(SKEW_LIMIT));
            status.entries.store(left as u64, Ordering::Relaxed);
        }
        let next = Instant::now() + EVERY;
        tokio::time::sleep(AT_LEAST).await;
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = wake.notified() => {}
        }
    }
}

/// One read: overlapping when the former one was good, of everything otherwise.
async fn read(
    database: &dyn Database,
    revocations: &Revocations,
    status: &FeedStatus,
    before: Option<Seen>,
) -> Result<Seen, StoreError> {
    if let Some(before) = before {
        let now = read_extent(database, revocations, status, Extent::Last(OVERLAP)).await?;
        if !has_gap(before, now) {
            return Ok(now);
        }
    }
    let now = read_extent(database, revocations, status, Extent::Everything).await?;
    status.full_reads.fetch_add(1, Ordering::Relaxed);
    Ok(now)
}

async fn read_extent(
    database: &dyn Database,
    revocations: &Revocations,
    status: &FeedStatus,
    extent: Extent,
) -> Result<Seen, StoreError> {
    let asked = clock::now();
    let answer = tokio::time::timeout(READ_LIMIT, database.read_revocations(extent)).await;
    let Recorded {
        revocations: recorded,
        database_clock,
        incarnation,
    } = answer.map_err(|elapsed| StoreError::Unavailable(Box::new(elapsed)))??;
    let answered = clock::now();
    revocations.record(recorded);
    let skew = skew_millis(asked, database_clock, answered);
    status.skew_millis.store(skew, Ordering::Release);
    status.reads.fetch_add(1, Ordering::Relaxed);
    Ok(Seen {
        database_clock,
        incarnation,
    })
}

/// How far the database's clock lies outside of the time between question and answer.
fn skew_millis(asked: Timestamp, database: Timestamp, answered: Timestamp) -> i64 {
    let (asked, database, answered) = (asked.unix_millis(), database.unix_millis(), answered.unix_millis());
    if database > answered {
        database.saturating_sub(answered)
    } else if database < asked {
        database.saturating_sub(asked)
    } else {
        0
    }
}

/// Notes why a read failed; logs the first of a row.
fn note_failure(status: &FeedStatus, error: &StoreError) {
    let reason = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    status.failures.fetch_add(1, Ordering::Relaxed);
    let mut last = status.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none() {
        tracing::warn!(%reason, "revocations cannot be read from the database");
    }
    *last = Some(reason);
}

/// Whether there was a failure to forget.
fn forget_failure(status: &FeedStatus) -> bool {
    status
        .last_failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seconds: i64, incarnation: i64) -> Seen {
        Seen {
            database_clock: Timestamp::from_unix_seconds(seconds),
            incarnation,
        }
    }

    #[test]
    fn missed_reads_a_failover_and_a_clock_set_back_are_gaps() {
        assert!(!has_gap(seen(100, 1), seen(101, 1)));
        assert!(!has_gap(seen(100, 1), seen(115, 1)));
        assert!(has_gap(seen(100, 1), seen(116, 1)));
        assert!(has_gap(seen(100, 1), seen(99, 1)));
        assert!(has_gap(seen(100, 1), seen(101, 2)));
    }

    #[test]
    fn the_overlap_covers_the_longest_gap_and_the_longest_statement() {
        assert!(OVERLAP >= LONGEST_GAP + READ_LIMIT + SKEW_LIMIT);
    }

    #[test]
    fn a_slow_answer_is_no_skew() {
        let at = Timestamp::from_unix_millis;
        assert_eq!(skew_millis(at(1000), at(3000), at(9000)), 0);
        assert_eq!(skew_millis(at(1000), at(9500), at(2000)), 7500);
        assert_eq!(skew_millis(at(9000), at(1000), at(9001)), -8000);
    }
}
