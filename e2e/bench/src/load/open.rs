//! When units of work begin by themselves.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Poisson arrivals: the times between them are exponentially distributed. The same in every run.
pub(super) struct Arrivals {
    mean: f64,
    next: Instant,
    random: StdRng,
}

impl Arrivals {
    /// `rate` a second, from now on.
    pub(super) fn new(rate: f64) -> Self {
        Self {
            mean: 1.0 / rate.max(0.001),
            next: Instant::now(),
            random: StdRng::seed_from_u64(1),
        }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// When one was due, if one is by `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Instant> {
        if self.next > now {
            return None;
        }
        let due = self.next;
        // 1 - x lies in (0, 1], where the logarithm is finite.
        let uniform: f64 = 1.0 - self.random.random::<f64>();
        self.next += Duration::from_secs_f64((-uniform.ln() * self.mean).min(3600.0));
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_their_rate_and_none_is_lost_while_nobody_looks() {
        let mut arrivals = Arrivals::new(1000.0);
        let began = arrivals.next();
        let late = began + Duration::from_secs(10);
        let due: Vec<Instant> = std::iter::from_fn(|| arrivals.take_due(late)).collect();
        assert!((9_500..10_500).contains(&due.len()), "{}", due.len());
        assert!(due.is_sorted() && due.first() == Some(&began));
    }
}
