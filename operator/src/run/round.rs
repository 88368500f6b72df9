//! A round: what is known → what follows → what is written. Driven by changes, with a pause that lets bursts settle.

mod fleet;
mod generated;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::manifests::Kind;
use oidc::Timestamp;
use snapshot::{Acknowledgements, Artefact, Head};

use super::delivery::{Commit, Delivery};
use super::metrics::{ExcludedLabel, KindLabel, Metrics};
use crate::apply::{Applier, Events, Fenced};
use crate::build::auth_server::Operator;
use crate::resolve::{Inputs, Resolution, resolve};
use crate::status::Patience;
use crate::world::cluster::{ABSENT_AGE, Cache, ReadError, References};
use crate::world::{ChildId, ObjectKey, World};

/// A change waits until nothing more changed for the first, at most for the second.
const DEBOUNCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Answers of servers, which come in flocks, wait until no other came for the first, at most for the second.
const COALESCE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// The same while a ready server has not answered to the last commit: what is said then is said again soon.
const AWAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(500));

/// Before something that failed is tried again.
const FAILED: Duration = Duration::from_secs(2);

/// Before something that was refused is tried again.
const REFUSED: Duration = Duration::from_secs(30);

/// Resolving and generating alternate at most so often in one round; two times are what it takes.
const GENERATIONS: usize = 4;

/// Before a commit that somebody else was faster than is tried again, should no watch show it sooner.
const OUTDATED: Duration = Duration::from_millis(500);

/// Times pass (keys become due, graces end) without any change: resolve at least so often.
pub(super) const AT_LEAST: Duration = Duration::from_secs(20);

/// When the next round begins.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    changes: Wait,
    answers: Wait,
}

/// A wait for quiet.
#[derive(Debug, Default)]
struct Wait {
    first: Option<Instant>,
    due: Option<Instant>,
}

impl Wait {
    /// One more came, and is waited with for quiet of the first duration, in all at most for the second.
    fn more(&mut self, now: Instant, (quiet, most): (Duration, Duration)) {
        let first = *self.first.get_or_insert(now);
        self.due = Some((now + quiet).min(first + most));
    }
}

impl Debounce {
    /// Something of the world changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.changes.more(now, DEBOUNCE);
    }

    /// A server answered; whether answers of others are awaited.
    pub(super) fn answered(&mut self, now: Instant, are_others_awaited: bool) {
        self.answers
            .more(now, if are_others_awaited { AWAIT } else { COALESCE });
    }

    /// A round should begin at once.
    pub(super) fn now(&mut self, now: Instant) {
        self.changes.due = Some(now);
    }

    /// Something failed and is tried again after a pause.
    pub(super) fn retry(&mut self, at: Instant) {
        self.changes.due = Some(self.changes.due.map_or(at, |due| due.min(at)));
    }

    /// When the next round begins, if one is waited for.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.changes.due, self.answers.due].into_iter().flatten().min()
    }

    /// A round begins; since when changes have waited for it.
    pub(super) fn begin(&mut self, now: Instant) -> Instant {
        std::mem::take(self).changes.first.unwrap_or(now)
    }
}

/// What a round could not do.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    /// A Secret that an object names could not be read: what follows from it is not known.
    #[error(transparent)]
    References(#[from] ReadError),
    /// This replica does not lead any more.
    #[error(transparent)]
    Fenced(#[from] Fenced),
}

/// What a round leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Something is to be tried again after this time.
    pub(super) retry: Option<Duration>,
}

impl Outcome {
    fn again(&mut self, after: Duration) {
        self.retry = Some(self.retry.map_or(after, |other| other.min(after)));
    }
}

/// What is kept between rounds.
pub(super) struct Round {
    pub(super) cache: Arc<Cache>,
    pub(super) references: References,
    pub(super) class: String,
    pub(super) metrics: Metrics,
    pub(super) delivery: Delivery,
    pub(super) applier: Applier,
    pub(super) events: Events,
    pub(super) operator: Operator,
    pub(super) patience: Patience,
    /// Names of children that others hold, as found in this round.
    pub(super) foreign: BTreeSet<ChildId>,
    /// Commits that not every ready server has acknowledged.
    pub(super) converging: BTreeMap<ObjectKey, Converging>,
}

/// A commit that not every ready server has acknowledged.
#[derive(Debug)]
pub(super) struct Converging {
    head: Head,
    /// When the change behind it was seen.
    changed: Instant,
    /// The servers that were ready then, by the UID of their pods.
    ready: BTreeSet<String>,
}

impl Round {
    /// What every replica does: serve what is committed. Does nothing before the first lists are finished.
    pub(super) fn follow(&mut self, now: Timestamp) {
        if let Some(world) = self.world() {
            self.delivery.observe(&world, now);
        }
        self.count_delivery();
    }

    /// One round of the leader; `changed` is when the first of the changes behind it was seen.
    pub(super) async fn lead(&mut self, now: Timestamp, changed: Instant) -> Result<Outcome, RoundError> {
        let mut outcome = Outcome::default();
        if !self.cache.is_complete() {
            return Ok(outcome);
        }
        self.references.refresh(&self.cache).await?;
        if self.references.misses() {
            outcome.again(ABSENT_AGE);
        }
        let Some(mut world) = self.world() else {
            return Ok(outcome);
        };
        self.delivery.observe(&world, now);
        if self.delivery.keep_peers(&world, &self.applier, now).await.is_err() {
            outcome.again(FAILED);
        }
        self.delivery.observe(&world, now);
        let acknowledgements = self.delivery.acknowledgements(&world);
        let mut resolution = self.resolve(&world, &acknowledgements, now);
        for generation in 1..=GENERATIONS {
            if !self.generate(&world, &resolution, now, &mut outcome).await? {
                break;
            }
            if generation == GENERATIONS {
                outcome.again(DEBOUNCE.0);
            }
            let Some(next) = self.world() else {
                return Ok(outcome);
            };
            world = next;
            resolution = self.resolve(&world, &acknowledgements, now);
        }
        self.commit(&world, &resolution, &acknowledgements, changed, &mut outcome)
            .await;
        self.foreign.clear();
        self.credentials(&world, &resolution, now, &mut outcome).await?;
        // Nobody needs them any more, and what follows allocates what stays.
        resolution.credentials.clear();
        self.children(&world, &mut resolution, now, &mut outcome).await?;
        self.cache.set_foreign(std::mem::take(&mut self.foreign));
        self.report(&world, &resolution, now, &mut outcome).await?;
        self.settle(&world, &resolution, &mut outcome).await;
        if let Some(wake) = resolution.wake {
            outcome.again(wake.since(now).max(Duration::from_millis(1)));
        }
        self.note_convergence(&acknowledgements);
        self.count(&world, &resolution);
        self.count_delivery();
        Ok(outcome)
    }

    /// What is known of the objects that are ours.
    fn world(&self) -> Option<World> {
        let mut world = self.cache.world()?;
        world.keep_class(&self.class);
        Some(world)
    }

    /// Commits what servers shall serve from now on.
    async fn commit(
        &mut self,
        world: &World,
        resolution: &Resolution,
        acknowledgements: &BTreeMap<ObjectKey, Acknowledgements>,
        changed: Instant,
        outcome: &mut Outcome,
    ) {
        for (fleet, target) in &resolution.artefacts {
            if self.delivery.only_settles(fleet, target) {
                continue;
            }
            if let Some(bytes) = self.write_artefact(world, (fleet, target), outcome).await {
                tracing::info!(%fleet, head = %target.head(), bytes, "committed");
                let answers = acknowledgements.get(fleet);
                let converging = Converging {
                    head: target.head(),
                    changed,
                    ready: answers.map(|answers| answers.ready.clone()).unwrap_or_default(),
                };
                self.converging.insert(fleet.clone(), converging);
            }
        }
    }

    /// Lets go of former versions that every ready server has replaced: last in a round and after a pause, for nobody
    /// waits for it, and servers answer to it once more.
    async fn settle(&mut self, world: &World, resolution: &Resolution, outcome: &mut Outcome) {
        for (fleet, target) in &resolution.artefacts {
            if self.delivery.only_settles(fleet, target)
                && let Some(bytes) = self.write_artefact(world, (fleet, target), outcome).await
            {
                tracing::debug!(%fleet, head = %target.head(), bytes, "settled");
            }
        }
    }

    /// Whether a server that was ready at the last commit of its fleet has not acknowledged it.
    pub(super) fn awaits_answers(&self) -> bool {
        let mut converging = self.converging.iter();
        converging.any(|(fleet, converging)| !self.delivery.serve(fleet, &converging.ready, converging.head))
    }

    /// The bytes that were written, if any were.
    async fn write_artefact(
        &mut self,
        world: &World,
        (fleet, target): (&ObjectKey, &Artefact),
        outcome: &mut Outcome,
    ) -> Option<usize> {
        match self.delivery.commit(world, fleet, target, &self.applier).await {
            Ok(Commit::Unchanged) => {}
            Ok(Commit::Committed { bytes, written }) => {
                for secret in written {
                    self.note(secret);
                }
                return Some(bytes);
            }
            Ok(Commit::Later(pause)) => outcome.again(pause),
            // The watch shows what was written instead, and begins the next round.
            Ok(Commit::Outdated) => outcome.again(OUTDATED),
            // The delivery has said why, and the AuthServer will.
            Err(_) => outcome.again(FAILED),
        }
        None
    }

    /// Notes commits that every ready server serves by now.
    fn note_convergence(&mut self, acknowledgements: &BTreeMap<ObjectKey, Acknowledgements>) {
        let metrics = &self.metrics;
        self.converging.retain(|fleet, converging| {
            let Converging { head, changed, .. } = converging;
            let Some(answers) = acknowledgements.get(fleet).filter(|answers| !answers.ready.is_empty()) else {
                return false;
            };
            let serves = |pod: &String| answers.by_pod.get(pod).is_some_and(|answer| answer.head >= *head);
            if answers.ready.iter().all(serves) {
                metrics.convergence_seconds.observe(changed.elapsed().as_secs_f64());
                return false;
            }
            true
        });
    }

    fn resolve(
        &self,
        world: &World,
        acknowledgements: &BTreeMap<ObjectKey, Acknowledgements>,
        now: Timestamp,
    ) -> Resolution {
        let began = Instant::now();
        let resolution = resolve(&Inputs {
            world,
            previous: self.delivery.artefacts(),
            acknowledgements,
            now,
        });
        self.metrics.compile_seconds.observe(began.elapsed().as_secs_f64());
        resolution
    }

    fn count_delivery(&self) {
        self.metrics.fleets(&self.delivery.counts());
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
        assert_eq!(debounce.begin(at(5_000)), at(0));
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn answers_are_taken_together_and_do_not_wait_for_changes() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut debounce = Debounce::default();
        debounce.answered(at(0), false);
        debounce.answered(at(10), false);
        assert_eq!(debounce.due(), Some(at(20)));
        for millis in (20..200).step_by(10) {
            debounce.answered(at(millis), false);
        }
        assert_eq!(debounce.due(), Some(at(100)));
        assert_eq!(debounce.begin(at(100)), at(100));
        debounce.changed(at(200));
        debounce.answered(at(210), false);
        assert_eq!(debounce.due(), Some(at(220)));
    }

    #[test]
    fn while_answers_are_awaited_those_that_came_wait_for_them() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut debounce = Debounce::default();
        for millis in (0..=60).step_by(20) {
            debounce.answered(at(millis), true);
        }
        assert_eq!(debounce.due(), Some(at(310)));
        debounce.answered(at(80), false);
        assert_eq!(debounce.due(), Some(at(90)), "the last one");
        // One that does not answer keeps nobody waiting for long.
        let mut debounce = Debounce::default();
        for millis in (0..2_000).step_by(50) {
            debounce.answered(at(millis), true);
        }
        assert_eq!(debounce.due(), Some(at(500)));
    }
}
