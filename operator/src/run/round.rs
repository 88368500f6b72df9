//! A round: what is known → what follows → what is written. Driven by changes, with a pause that lets bursts settle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::manifests::Kind;
use oidc::Timestamp;
use snapshot::{Acknowledgements, Artefact};

use super::metrics::{ExcludedLabel, KindLabel, Metrics};
use crate::resolve::{Inputs, Resolution, resolve};
use crate::world::cluster::{Cache, ReadError, References};
use crate::world::{ObjectKey, World};

/// A change waits until nothing more changed for the first, at most for the second.
const DEBOUNCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Times pass (keys become due, graces end) without any change: resolve at least so often.
pub(super) const AT_LEAST: Duration = Duration::from_secs(20);

/// When the next round begins.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    first: Option<Instant>,
    due: Option<Instant>,
}

impl Debounce {
    /// Something of the world changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = *self.first.get_or_insert(now);
        self.due = Some((now + DEBOUNCE.0).min(first + DEBOUNCE.1));
    }

    /// A round should begin at once.
    pub(super) fn now(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// Something failed and is tried again after a pause.
    pub(super) fn retry(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When the next round begins, if one is waited for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A round begins.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }
}

/// What a round could not do.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    /// A Secret that an object names could not be read: what follows from it is not known.
    #[error(transparent)]
    References(#[from] ReadError),
}

/// What is kept between rounds.
pub(super) struct Round {
    pub(super) cache: Arc<Cache>,
    pub(super) references: References,
    pub(super) class: String,
    pub(super) metrics: Metrics,
}

impl Round {
    /// One round of the leader. Does nothing before the first lists are finished.
    pub(super) async fn lead(&mut self, now: Timestamp) -> Result<(), RoundError> {
        self.references.refresh(&self.cache).await?;
        let Some(mut world) = self.cache.world() else {
            return Ok(());
        };
        world.keep_class(&self.class);
        let resolution = self.resolve(&world, &BTreeMap::new(), &BTreeMap::new(), now);
        self.count(&world, &resolution);
        Ok(())
    }

    fn resolve(
        &self,
        world: &World,
        previous: &BTreeMap<ObjectKey, Artefact>,
        acknowledgements: &BTreeMap<ObjectKey, Acknowledgements>,
        now: Timestamp,
    ) -> Resolution {
        let began = Instant::now();
        let resolution = resolve(&Inputs {
            world,
            previous,
            acknowledgements,
            now,
        });
        self.metrics.compile_seconds.observe(began.elapsed().as_secs_f64());
        resolution
    }

    fn count(&self, world: &World, resolution: &Resolution) {
        for (kind, count) in [
            (Kind::AuthServer, world.auth_servers.len()),
            (Kind::Realm, world.realms.len()),
            (Kind::Client, world.clients.len()),
        ] {
            let label = KindLabel { kind: kind.as_str() };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.objects.get_or_create(&label).set(count);
        }
        let mut excluded: BTreeMap<(&'static str, String), i64> = BTreeMap::new();
        for (id, verdict) in &resolution.verdicts {
            for problem in &verdict.problems {
                let reason = problem.reason.as_str().to_owned();
                *excluded.entry((id.kind.as_str(), reason)).or_default() += 1;
            }
        }
        for id in world.undecodable.keys() {
            *excluded
                .entry((id.kind.as_str(), "Undecodable".to_owned()))
                .or_default() += 1;
        }
        self.metrics.excluded.clear();
        for ((kind, reason), count) in excluded {
            self.metrics
                .excluded
                .get_or_create(&ExcludedLabel { kind, reason })
                .set(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_wait_for_quiet_but_not_for_ever() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(), None);
        debounce.changed(at(0));
        debounce.changed(at(50));
        assert_eq!(debounce.due(), Some(at(150)));
        for millis in (100..10_000).step_by(50) {
            debounce.changed(at(millis));
        }
        assert_eq!(debounce.due(), Some(at(5_000)));
        debounce.begin();
        assert_eq!(debounce.due(), None);
    }
}
