//! What is remembered of realms that are gone, and what is to become of their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oidc::config::Resource;
use oidc::id::RealmId;

use super::Plan;
use crate::id::ResourceId;
use crate::shard::{Shard, Tombstone};
use crate::wire;

/// How long a realm that is gone is remembered. Its rows are erased after a day, by any server that then reaches its
/// operator and its database for a moment; for as long as that may take nobody, the wish must not be forgotten. What it
/// costs is about a hundred bytes of a shard for each realm that went.
const LIFETIME: Duration = Duration::from_hours(90 * 24);

/// What is known of a realm beside whether it is desired. One of which nothing is known is gone when it is not desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What describes it is there, whether or not it can be served: it is not gone.
    There {
        /// Whether its rows shall be deleted once it is gone.
        erase: bool,
    },
    /// It went, and nobody knows why: its rows stay.
    Lost,
}

impl Plan<'_> {
    /// The realms that are not served any more. The time of one whose rows shall be deleted begins when it is gone.
    pub(super) fn tombstones(&self, before: &Shard) -> BTreeMap<RealmId, Tombstone> {
        let mut tombstones = before.tombstones.clone();
        for (id, entry) in &before.entries {
            if !self.wanted.contains_key(id)
                && let Ok(Resource::Realm(realm)) = wire::decode(id, &entry.current)
            {
                let tombstone = Tombstone {
                    issuer: realm.issuer.as_str().to_owned(),
                    name: realm.name,
                    since: self.now,
                    erase: false,
                };
                tombstones.insert(realm.id, tombstone);
            }
        }
        for (realm, tombstone) in &mut tombstones {
            match self.standing.get(realm) {
                Some(Standing::There { .. }) => tombstone.erase = false,
                None if before.erase.contains(realm) => {
                    tombstone.since = self.now;
                    tombstone.erase = true;
                }
                Some(Standing::Lost) | None => {}
            }
        }
        tombstones.retain(|realm, tombstone| {
            let is_there = matches!(self.standing.get(realm), Some(Standing::There { .. }));
            !self.wants(*realm) && (is_there || self.now.since(tombstone.since) < LIFETIME)
        });
        tombstones
    }

    /// The realms that are not gone and whose rows shall be deleted once they are. What is not said anew of a realm that
    /// is wanted stays as it was.
    pub(super) fn erase(&self, before: &Shard, tombstones: &BTreeMap<RealmId, Tombstone>) -> BTreeSet<RealmId> {
        let said = self.standing.iter().filter(|(realm, standing)| {
            let is_known = self.wants(**realm) || tombstones.contains_key(*realm);
            **standing == Standing::There { erase: true } && is_known
        });
        let remembered = before
            .erase
            .iter()
            .filter(|realm| self.wants(**realm) && !self.standing.contains_key(*realm));
        said.map(|(realm, _)| *realm).chain(remembered.copied()).collect()
    }

    fn wants(&self, realm: RealmId) -> bool {
        self.wanted.contains_key(&ResourceId::Realm(realm))
    }
}

#[cfg(test)]
mod tests {
    use oidc::time::Timestamp;

    use super::*;
    use crate::artefact::Artefact;
    use crate::fixtures::{NOW, inputs, realm};
    use crate::next::Inputs;

    const DELETE: Standing = Standing::There { erase: true };
    const RETAIN: Standing = Standing::There { erase: false };
    const HOUR: Duration = Duration::from_hours(1);

    /// A step in which the realm is desired or not.
    fn step(previous: Option<&Artefact>, is_desired: bool, standing: Option<Standing>, now: Timestamp) -> Artefact {
        let resource = is_desired.then(|| Resource::Realm(realm()));
        let inputs = Inputs {
            standing: standing.map(|standing| (realm().id, standing)).into_iter().collect(),
            now,
            ..inputs(resource.into_iter().collect())
        };
        let artefact = Artefact::next(previous, inputs).artefact;
        // Whoever leads next knows only what is written.
        Artefact::from_files(&artefact.to_files().into_iter().collect()).unwrap()
    }

    fn served(standing: Standing) -> Artefact {
        step(None, true, Some(standing), NOW)
    }

    /// Since when the realm is gone, and whether its rows are to be deleted.
    fn tombstone(artefact: &Artefact) -> Option<(Timestamp, bool)> {
        artefact
            .tombstones()
            .next()
            .map(|(_, tombstone)| (tombstone.since, tombstone.erase))
    }

    #[test]
    fn what_is_to_become_of_rows_is_what_was_said_last() {
        let later = NOW.after(HOUR);
        let gone = |before: &Artefact| tombstone(&step(Some(before), false, None, later));
        assert_eq!(gone(&served(DELETE)), Some((later, true)));
        assert_eq!(gone(&served(RETAIN)), Some((later, false)));
        let changed = step(Some(&served(DELETE)), true, Some(RETAIN), NOW);
        assert_eq!(gone(&changed), Some((later, false)));
        // Held back, nothing new is said of it.
        let held = step(Some(&served(DELETE)), true, None, NOW);
        assert_eq!(tombstone(&held), None);
        assert_eq!(gone(&held), Some((later, true)));
    }

    #[test]
    fn the_time_of_a_realm_that_is_there_begins_when_it_is_gone() {
        let at = |hours: u32| NOW.after(HOUR * hours);
        let waiting = step(Some(&served(DELETE)), false, Some(DELETE), at(1));
        assert_eq!(tombstone(&waiting), Some((at(1), false)));
        assert_eq!(step(Some(&waiting), false, Some(DELETE), at(100)), waiting);
        let gone = step(Some(&waiting), false, None, at(100));
        assert_eq!(tombstone(&gone), Some((at(100), true)));
        assert_eq!(gone.head(), waiting.head(), "nothing that is served changed");
        // Applied again, although it cannot be served; then it goes once more.
        let again = step(Some(&gone), false, Some(DELETE), at(110));
        assert_eq!(tombstone(&again), Some((at(100), false)));
        assert_eq!(
            tombstone(&step(Some(&again), false, None, at(111))),
            Some((at(111), true))
        );
        // Or somebody thinks better of it.
        let again = step(Some(&gone), false, Some(RETAIN), at(110));
        assert_eq!(
            tombstone(&step(Some(&again), false, None, at(111))),
            Some((at(100), false))
        );
    }

    #[test]
    fn nothing_is_erased_of_a_realm_that_was_lost() {
        let lost = step(Some(&served(DELETE)), false, Some(Standing::Lost), NOW);
        assert_eq!(tombstone(&lost), Some((NOW, false)));
        let later = step(Some(&lost), false, None, NOW.after(HOUR * 30));
        assert_eq!(tombstone(&later), Some((NOW, false)));
        assert!(!later.erases(realm().id));
    }

    #[test]
    fn a_realm_is_remembered_for_as_long_as_erasing_it_may_take_or_it_is_there() {
        let at = |days: u32| NOW.after(HOUR * 24 * days);
        let gone = step(Some(&served(DELETE)), false, None, NOW);
        assert_eq!(step(Some(&gone), false, None, at(89)), gone);
        assert_eq!(tombstone(&step(Some(&gone), false, None, at(90))), None);
        // A clock that was ahead once makes it no younger than it is.
        let ahead = step(Some(&served(DELETE)), false, None, at(500));
        assert_eq!(
            tombstone(&step(Some(&ahead), false, None, at(100))),
            Some((at(500), true))
        );
        let waiting = step(Some(&served(DELETE)), false, Some(DELETE), NOW);
        assert_eq!(step(Some(&waiting), false, Some(DELETE), at(900)), waiting);
        assert_eq!(
            tombstone(&step(Some(&waiting), false, None, at(901))),
            Some((at(901), true))
        );
    }

    #[test]
    fn a_realm_that_was_never_served_leaves_nothing_to_remember() {
        let never = step(None, false, Some(DELETE), NOW);
        assert!(!never.erases(realm().id));
        assert_eq!(never.shard_files().count(), 0);
    }
}
