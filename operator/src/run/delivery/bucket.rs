//! How fast commits may follow one another.

use std::time::{Duration, Instant};

/// Commits at once.
const BURST: u32 = 5;

/// Then one in so long.
const REFILL: Duration = Duration::from_secs(1);

/// A token bucket of the commits of one fleet: every commit is fetched again by every kubelet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// When it would be full if nothing was taken any more.
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one, or says how long to wait.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let missing = self.full_at.saturating_duration_since(now);
        let room = REFILL * (BURST - 1);
        match missing.checked_sub(room) {
            Some(wait) if !wait.is_zero() => return Err(wait),
            _ => {}
        }
        self.full_at = now + missing + REFILL;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_commits_at_once_then_one_in_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for _ in 0..5 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(REFILL));
        assert_eq!(bucket.take(start + REFILL / 2), Err(REFILL / 2));
        assert_eq!(bucket.take(start + REFILL), Ok(()));
        assert_eq!(bucket.take(start + REFILL), Err(REFILL));
        let later = start + REFILL * 100;
        for _ in 0..5 {
            assert_eq!(bucket.take(later), Ok(()));
        }
        assert_eq!(bucket.take(later), Err(REFILL));
    }
}
