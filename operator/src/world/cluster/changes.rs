//! Which changes are somebody else's: the watch often shows what this process wrote before the answer to the write does.

use std::collections::BTreeMap;
use std::mem;

use super::Watched;
use crate::world::ObjectKey;

/// What has changed since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Versions that watches showed once: each may turn out to be one that this process wrote.
    shown: BTreeMap<(Watched, ObjectKey), u64>,
    /// Whether there was a change that this process certainly did not make.
    is_other: bool,
}

impl Changes {
    /// Something changed, whoever did it.
    pub(super) fn note(&mut self) {
        self.is_other = true;
    }

    /// A watch showed this version of an object. An object that changes twice was not only written by this process.
    pub(super) fn shown(&mut self, watched: Watched, key: ObjectKey, version: Option<u64>) {
        let is_first = version.is_some_and(|version| self.shown.insert((watched, key), version).is_none());
        self.is_other |= !is_first;
    }

    /// This process has written that version of an object.
    pub(super) fn written(&mut self, watched: Watched, key: ObjectKey, version: Option<u64>) {
        let id = (watched, key);
        if version.is_some() && self.shown.get(&id).copied() == version {
            self.shown.remove(&id);
        }
    }

    /// Whether somebody else has changed anything since this was last asked.
    pub(super) fn take(&mut self) -> bool {
        let Self { shown, is_other } = mem::take(self);
        is_other || !shown.is_empty()
    }
}
