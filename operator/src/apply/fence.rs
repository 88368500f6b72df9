//! The fence: nothing is written unless the Lease was renewed a moment ago, by the local monotonic clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets writes through while this process leads. Cheap to clone; all clones are one fence.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    open_until: Arc<Mutex<Option<Instant>>>,
}

/// This process does not lead, or could not renew the Lease in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the Lease")]
pub struct Fenced;

impl Fence {
    /// A fence that lets nothing through yet.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets writes through until `instant`; a later call moves it.
    pub fn open_until(&self, instant: Instant) {
        *self.lock() = Some(instant);
    }

    /// Lets nothing through from now on.
    pub fn close(&self) {
        *self.lock() = None;
    }

    /// Whether a write may begin now.
    pub fn check(&self) -> Result<(), Fenced> {
        self.remaining().map(|_| ())
    }

    /// For how long writes are let through; a write that takes longer must be given up.
    pub fn remaining(&self) -> Result<Duration, Fenced> {
        let until = (*self.lock()).ok_or(Fenced)?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Fenced) } else { Ok(left) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.open_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_until_the_moment_given() {
        let fence = Fence::closed();
        assert_eq!(fence.check(), Err(Fenced));
        let now = Instant::now();
        fence.open_until(now + Duration::from_mins(1));
        assert_eq!(fence.clone().check(), Ok(()));
        assert!(fence.remaining().unwrap() <= Duration::from_mins(1));
        fence.open_until(now);
        assert_eq!(fence.check(), Err(Fenced));
        fence.open_until(now + Duration::from_mins(1));
        fence.close();
        assert_eq!(fence.check(), Err(Fenced));
    }
}
