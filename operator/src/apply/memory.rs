//! What the writer remembers between rounds: answers that the watches have not shown yet, fields that the API server
//! keeps in another form, and who keeps undoing what it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::generated::Seen;
use crate::build::text;
use crate::world::{ChildId, Cluster, ObjectKey};

/// Pause after the second time that an edit was put back; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// An edit so long after the last one begins a new count.
const FORGOTTEN: Duration = Duration::from_mins(30);

#[derive(Debug, Default)]
pub(super) struct Memory {
    written: BTreeMap<ChildId, Arc<Value>>,
    deleted: BTreeSet<String>,
    /// By child: what was applied, and the fields that differed right afterwards.
    settled: BTreeMap<ChildId, (Value, BTreeSet<String>)>,
    fights: BTreeMap<ChildId, Fight>,
    /// Secrets beside Clients that were as they should be.
    right: BTreeMap<ObjectKey, Seen>,
}

#[derive(Debug)]
struct Fight {
    rounds: u32,
    last: Instant,
}

impl Memory {
    /// The newer one of what the watch shows and what the last write answered.
    pub(super) fn newest(&mut self, id: &ChildId, watched: Option<&Arc<Value>>) -> Option<Arc<Value>> {
        if let Some(watched) = watched
            && self.written.get(id).is_some_and(|written| !is_newer(written, watched))
        {
            self.written.remove(id);
        }
        let newest = self.written.get(id).or(watched)?;
        let is_gone = uid(newest).is_some_and(|uid| self.deleted.contains(uid));
        (!is_gone).then(|| Arc::clone(newest))
    }

    /// Remembers the answer to a write, and in which fields it differs from what was sent.
    pub(super) fn wrote(&mut self, id: &ChildId, sent: &Value, answer: Value, differing: Vec<String>) {
        self.written.insert(id.clone(), Arc::new(answer));
        if differing.is_empty() {
            self.settled.remove(id);
        } else {
            let fields = differing.into_iter().collect();
            self.settled.insert(id.clone(), (sent.clone(), fields));
        }
    }

    /// Forgets the answers that the watches have caught up with, so that an object which then goes is known to be gone.
    pub(super) fn settle(&mut self, cluster: &Cluster) {
        let is_ahead = |id: &ChildId, written: &Value| {
            let watched = cluster.version(id);
            watched.is_none_or(|watched| is_of_later_revision(written, Some(watched)))
        };
        self.written.retain(|id, written| is_ahead(id, written));
    }

    /// Whether this was right when it was looked at last.
    pub(super) fn is_right(&self, key: &ObjectKey, seen: &Seen) -> bool {
        self.right.get(key).is_some_and(|right| right.is(seen))
    }

    /// Remembers that this is as it should be.
    pub(super) fn right(&mut self, key: &ObjectKey, seen: Seen) {
        self.right.insert(key.clone(), seen);
    }

    /// Forgets Secrets that are not wanted any more.
    pub(super) fn keep_right(&mut self, is_wanted: impl Fn(&ObjectKey) -> bool) {
        self.right.retain(|key, _| is_wanted(key));
    }

    /// What was written to the child is not there any more.
    pub(super) fn forget(&mut self, id: &ChildId) {
        self.written.remove(id);
    }

    /// Remembers that the object with this UID was deleted.
    pub(super) fn deleted(&mut self, id: &ChildId, uid: &str) {
        self.written.remove(id);
        self.settled.remove(id);
        self.deleted.insert(uid.to_owned());
    }

    /// Keeps UIDs of deleted objects only as long as a watch still shows them.
    pub(super) fn keep_deleted(&mut self, is_shown: impl Fn(&str) -> bool) {
        self.deleted.retain(|uid| is_shown(uid));
    }

    /// Those of the edited fields that the API server does not simply keep in another form.
    pub(super) fn really_edited(&self, id: &ChildId, desired: &Value, fields: Vec<String>) -> Vec<String> {
        match self.settled.get(id) {
            Some((sent, settled)) if sent == desired => {
                fields.into_iter().filter(|field| !settled.contains(field)).collect()
            }
            _ => fields,
        }
    }

    /// Whether an edit may be put back now; otherwise how long to wait. The first two times it may at once.
    pub(super) fn may_put_back(&mut self, id: &ChildId, now: Instant) -> Result<(), Duration> {
        let fight = self
            .fights
            .entry(id.clone())
            .and_modify(|fight| {
                if now.saturating_duration_since(fight.last) > FORGOTTEN {
                    fight.rounds = 0;
                }
            })
            .or_insert(Fight { rounds: 0, last: now });
        let pause = match fight.rounds {
            0 | 1 => Duration::ZERO,
            rounds => FIRST_PAUSE.saturating_mul(1 << (rounds - 2).min(16)).min(LONGEST_PAUSE),
        };
        let waited = now.saturating_duration_since(fight.last);
        if waited < pause {
            return Err(pause.saturating_sub(waited));
        }
        fight.rounds += 1;
        fight.last = now;
        Ok(())
    }
}

fn uid(object: &Value) -> Option<&str> {
    text(object, &["metadata", "uid"])
}

/// Whether `one` is of a later revision. Revisions of one object are numbers that grow.
fn is_newer(one: &Value, other: &Value) -> bool {
    is_of_later_revision(one, version(other))
}

fn is_of_later_revision(object: &Value, other: Option<&str>) -> bool {
    let revision = |version: Option<&str>| version?.parse::<u64>().ok();
    matches!((revision(version(object)), revision(other)), (Some(one), Some(other)) if one > other)
}

fn version(object: &Value) -> Option<&str> {
    text(object, &["metadata", "resourceVersion"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::ChildKind;
    use serde_json::json;

    fn id() -> ChildId {
        ChildId::new(ChildKind::Service, "login", "main")
    }

    fn object(revision: u64) -> Arc<Value> {
        Arc::new(json!({"metadata": {"uid": "u", "resourceVersion": revision.to_string()}}))
    }

    #[test]
    fn an_answer_counts_until_the_watch_shows_it() {
        let mut memory = Memory::default();
        memory.wrote(&id(), &json!({}), (*object(9)).clone(), vec![]);
        assert_eq!(memory.newest(&id(), Some(&object(8))), Some(object(9)));
        assert_eq!(memory.newest(&id(), None), Some(object(9)));
        assert_eq!(memory.newest(&id(), Some(&object(10))), Some(object(10)));
        assert_eq!(memory.newest(&id(), None), None);
        memory.deleted(&id(), "u");
        assert_eq!(memory.newest(&id(), Some(&object(10))), None);
    }

    #[test]
    fn an_object_that_goes_after_the_watch_has_shown_it_is_gone() {
        let mut memory = Memory::default();
        memory.wrote(&id(), &json!({}), (*object(9)).clone(), vec![]);
        for (shown, newest) in [(None, Some(object(9))), (Some(8), Some(object(9))), (Some(9), None)] {
            let shown = shown.map(|revision| (id(), object(revision)));
            let cluster = Cluster {
                children: shown.into_iter().collect(),
                ..Cluster::default()
            };
            memory.settle(&cluster);
            assert_eq!(memory.newest(&id(), None), newest);
        }
    }

    #[test]
    fn a_field_that_is_kept_in_another_form_is_no_edit() {
        let mut memory = Memory::default();
        let sent = json!({"spec": {"hostNetwork": false, "replicas": 2}});
        memory.wrote(&id(), &sent, json!({}), vec!["spec.hostNetwork".into()]);
        let both = vec!["spec.hostNetwork".to_owned(), "spec.replicas".to_owned()];
        assert_eq!(memory.really_edited(&id(), &sent, both.clone()), ["spec.replicas"]);
        assert_eq!(memory.really_edited(&id(), &json!({}), both.clone()), both);
    }

    #[test]
    fn whoever_keeps_undoing_is_answered_ever_more_slowly() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        assert_eq!(memory.may_put_back(&id(), start), Ok(()));
        assert_eq!(memory.may_put_back(&id(), start), Ok(()));
        assert_eq!(memory.may_put_back(&id(), start), Err(FIRST_PAUSE));
        let later = start + FIRST_PAUSE;
        assert_eq!(memory.may_put_back(&id(), later), Ok(()));
        assert_eq!(memory.may_put_back(&id(), later), Err(FIRST_PAUSE * 2));
        assert_eq!(memory.may_put_back(&id(), later + FORGOTTEN * 2), Ok(()));
        assert_eq!(memory.may_put_back(&id(), later + FORGOTTEN * 2), Ok(()));
    }
}
