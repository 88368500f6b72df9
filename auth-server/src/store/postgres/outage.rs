//! Whether connecting fails at the moment, as the attempts of many requests tell.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After a failed attempt, requests without a connection fail at once for so long.
const MEMORY: Duration = Duration::from_secs(1);

/// What attempts to connect led to.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Attempts>);

#[derive(Debug, Default)]
struct Attempts {
    succeeded: Option<Instant>,
    failed: Option<(Instant, String)>,
}

impl Outage {
    /// An attempt succeeded.
    pub(super) fn succeeded(&self, now: Instant) {
        let mut attempts = self.attempts();
        attempts.succeeded = Some(now);
        attempts.failed = None;
    }

    /// An attempt that began at `began` failed. It says nothing when another one succeeded meanwhile: it may have been
    /// made with what was wrong before.
    pub(super) fn failed(&self, began: Instant, now: Instant, reason: String) {
        let mut attempts = self.attempts();
        if attempts.succeeded.is_none_or(|succeeded| succeeded < began) {
            attempts.failed = Some((now, reason));
        }
    }

    /// Whether an attempt failed a moment ago.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        let attempts = self.attempts();
        let failed = attempts.failed.as_ref();
        failed.is_some_and(|(at, _)| now.saturating_duration_since(*at) < MEMORY)
    }

    /// Why the last attempt failed, unless one has succeeded since.
    pub(super) fn reason(&self) -> Option<String> {
        let attempts = self.attempts();
        attempts.failed.as_ref().map(|(_, reason)| reason.clone())
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[test]
    fn a_failure_is_remembered_for_a_moment_and_until_a_success() {
        let (outage, began) = (Outage::default(), Instant::now());
        assert!(!outage.is_recent(began));
        outage.failed(began, began + SOON, "refused".to_owned());
        assert!(outage.is_recent(began + SOON));
        assert_eq!(outage.reason().as_deref(), Some("refused"));
        assert!(!outage.is_recent(began + SOON + MEMORY));
        outage.succeeded(began + SOON * 2);
        assert!(!outage.is_recent(began + SOON * 2));
        assert_eq!(outage.reason(), None);
    }

    #[test]
    fn an_attempt_that_fails_late_says_nothing_after_a_success() {
        let (outage, began) = (Outage::default(), Instant::now());
        outage.succeeded(began + SOON);
        outage.failed(began, began + SOON * 2, "the former password".to_owned());
        assert!(!outage.is_recent(began + SOON * 2));
        outage.failed(began + SOON * 3, began + SOON * 4, "refused".to_owned());
        assert!(outage.is_recent(began + SOON * 4));
    }
}
