//! What keeps configuration or certificates of a fleet from being written, as its AuthServer tells it.
//!
//! What somebody has to change counts at once. What may pass by itself counts after a while, and keeps its first words.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::DeliveryError;
use crate::apply::secret::WriteError;
use crate::apply::{ApplyError, Failure};
use crate::build::peers;
use crate::log::chain;
use crate::world::{ChildId, ChildKind, ObjectKey};

/// How long something may fail that may pass by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is written for a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Authorities and certificates.
    Peers,
    /// The configuration.
    Configuration,
}

#[derive(Debug)]
struct Trouble {
    child: ChildId,
    failure: Failure,
    since: Instant,
}

/// What cannot be written now.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<(ObjectKey, Part), Trouble>);

impl Troubles {
    /// It was written, or is as it should be.
    pub(super) fn clear(&mut self, fleet: &ObjectKey, part: Part) {
        self.0.remove(&(fleet.clone(), part));
    }

    /// It could not be written. Whether that is news.
    pub(super) fn note(&mut self, fleet: &ObjectKey, part: Part, error: &DeliveryError, now: Instant) -> bool {
        let Some((key, failure)) = failure(error) else {
            return false;
        };
        let child = ChildId {
            kind: ChildKind::Secret,
            key: key.unwrap_or_else(|| peers::peer_secret(fleet)),
        };
        let is_same = |known: &Trouble| {
            let passes = |failure: &Failure| matches!(failure, Failure::Unavailable(_));
            known.child == child && (known.failure == failure || (passes(&known.failure) && passes(&failure)))
        };
        let at = (fleet.clone(), part);
        if self.0.get(&at).is_some_and(is_same) {
            return false;
        }
        let since = self.0.get(&at).map_or(now, |known| known.since);
        self.0.insert(at, Trouble { child, failure, since });
        true
    }

    /// Keeps what is about these fleets.
    pub(super) fn retain(&mut self, is_known: impl Fn(&ObjectKey) -> bool) {
        self.0.retain(|(fleet, _), _| is_known(fleet));
    }

    /// What somebody has to change.
    pub(super) fn failures(&self, fleet: &ObjectKey) -> BTreeMap<ChildId, Failure> {
        let found = self.of(fleet).filter(|trouble| !trouble.passes());
        found
            .map(|trouble| (trouble.child.clone(), trouble.failure.clone()))
            .collect()
    }

    /// What should have passed by now, in a sentence.
    pub(super) fn lasting(&self, fleet: &ObjectKey, now: Instant) -> Option<String> {
        let mut found = self.of(fleet).filter(|trouble| trouble.passes());
        let trouble = found.find(|trouble| now.saturating_duration_since(trouble.since) >= PATIENCE)?;
        let Failure::Unavailable(why) = &trouble.failure else {
            return None;
        };
        Some(format!(
            "{} cannot be written, so changes do not reach the servers: {why}; it is tried again: see whether the API \
             server takes writes, and whether somebody else writes this Secret",
            trouble.child
        ))
    }

    fn of(&self, fleet: &ObjectKey) -> impl Iterator<Item = &Trouble> {
        [Part::Peers, Part::Configuration]
            .into_iter()
            .filter_map(move |part| self.0.get(&(fleet.clone(), part)))
    }
}

impl Trouble {
    fn passes(&self) -> bool {
        matches!(self.failure, Failure::Unavailable(_))
    }
}

/// Which Secret, if it is a certain one, and why. `None` when this process may only not write any more.
fn failure(error: &DeliveryError) -> Option<(Option<ObjectKey>, Failure)> {
    Some(match error {
        DeliveryError::Foreign(key) => (Some(key.clone()), Failure::Foreign("somebody else".to_owned())),
        DeliveryError::Pki { .. } => (None, Failure::Unavailable(chain(error))),
        DeliveryError::Write { key, source } => {
            let failure = match source {
                WriteError::Foreign => Failure::Foreign("somebody else".to_owned()),
                WriteError::Call(ApplyError::Fenced(_)) => return None,
                WriteError::Call(ApplyError::Forbidden(message)) => Failure::Forbidden(message.clone()),
                WriteError::Call(ApplyError::Invalid(message)) => Failure::Invalid(message.clone()),
                WriteError::Call(error) => Failure::Unavailable(chain(error)),
            };
            (Some(key.clone()), failure)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("login", name)
    }

    fn refused(error: ApplyError) -> DeliveryError {
        DeliveryError::Write {
            key: key("main-config"),
            source: error.into(),
        }
    }

    #[test]
    fn what_somebody_has_to_change_counts_at_once_until_it_is_written() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        let main = key("main");
        let foreign = DeliveryError::Foreign(key("main-peer"));
        assert!(troubles.note(&main, Part::Peers, &foreign, now));
        assert!(!troubles.note(&main, Part::Peers, &foreign, now));
        let forbidden = refused(ApplyError::Forbidden("no".to_owned()));
        assert!(troubles.note(&main, Part::Configuration, &forbidden, now));
        let failures = troubles.failures(&main);
        let told: Vec<String> = failures.iter().map(|(id, why)| format!("{id}: {why:?}")).collect();
        assert_eq!(
            told,
            [
                "Secret main-config: Forbidden(\"no\")",
                "Secret main-peer: Foreign(\"somebody else\")"
            ]
        );
        assert_eq!(troubles.failures(&key("other")), BTreeMap::new());
        troubles.clear(&main, Part::Peers);
        troubles.clear(&main, Part::Configuration);
        assert_eq!(troubles.failures(&main), BTreeMap::new());
    }

    #[test]
    fn what_may_pass_counts_when_it_does_not_and_keeps_its_first_words() {
        let (mut troubles, start) = (Troubles::default(), Instant::now());
        let main = key("main");
        let later = start + Duration::from_secs(20);
        assert!(troubles.note(
            &main,
            Part::Configuration,
            &refused(ApplyError::Conflict("version 7".to_owned())),
            start
        ));
        assert!(!troubles.note(
            &main,
            Part::Configuration,
            &refused(ApplyError::Conflict("version 8".to_owned())),
            later
        ));
        assert_eq!(troubles.failures(&main), BTreeMap::new());
        assert_eq!(troubles.lasting(&main, later), None);
        let told = troubles.lasting(&main, start + PATIENCE).unwrap();
        assert!(told.contains("Secret main-config cannot be written"), "{told}");
        assert!(told.contains("version 7"), "{told}");
    }
}
