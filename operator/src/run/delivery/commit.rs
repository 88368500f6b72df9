//! The commit of a configuration: the leader writes its Secrets, and the streams of this replica have it at once.

use std::time::{Duration, Instant};

use serde_json::Value;
use snapshot::Artefact;

use super::trouble::Part;
use super::writing::paused;
use super::{Delivery, DeliveryError, owner};
use crate::apply::Applier;
use crate::build::artefact::{self, SecretWrite};
use crate::world::{ObjectKey, World};

/// After a commit, before former versions that every ready server has replaced are let go of. The next edit, where one
/// follows, takes them along.
const SETTLE: Duration = Duration::from_secs(3);

/// What became of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Commit {
    /// Everything is as it should be.
    Unchanged,
    /// It is committed, and streams have it.
    Committed {
        /// Bytes that were written.
        bytes: usize,
        /// The Secrets as they are now.
        written: Vec<Value>,
    },
    /// It is too early: try again after this time, with what is then to be committed.
    Later(Duration),
    /// Somebody else wrote first: resolve again once the watch shows what.
    Outdated,
}

impl Delivery {
    /// Whether a commit of `target` would change nothing of what servers serve.
    pub fn only_settles(&self, fleet: &ObjectKey, target: &Artefact) -> bool {
        let committed = self.artefacts.get(fleet);
        committed.is_some_and(|committed| artefact::only_settles(committed, target))
    }

    /// Commits `target`, which was resolved from [`Delivery::artefacts`], to the Secrets of `fleet`, and hands it to
    /// the streams of this replica: the leader, with every resolution. Writes nothing when everything is as it should
    /// be, and puts back what was altered by hand.
    pub async fn commit(
        &mut self,
        world: &World,
        key: &ObjectKey,
        target: &Artefact,
        applier: &Applier,
    ) -> Result<Commit, DeliveryError> {
        let settles = self.only_settles(key, target);
        let (Some(owner), Some(served)) = (owner(world, key), self.fleets.get_mut(key)) else {
            return Ok(Commit::Outdated);
        };
        let rest = served.committed.filter(|_| settles);
        let rest = rest.and_then(|committed| SETTLE.checked_sub(committed.elapsed()));
        if let Some(pause) = rest.filter(|rest| !rest.is_zero()) {
            return Ok(Commit::Later(pause));
        }
        let plan = artefact::Commit {
            owner: &owner,
            committed: self.artefacts.get(key),
            target,
        };
        let writes = plan.writes(|key| self.secrets.seen(world, key));
        if writes.is_empty() {
            self.troubles.clear(key, Part::Configuration);
            return Ok(Commit::Unchanged);
        }
        if let Some(pause) = writes.iter().find_map(|write| paused(&self.foreign, &write.key)) {
            return Ok(Commit::Later(pause));
        }
        if !settles && let Err(pause) = served.bucket.take(Instant::now()) {
            return Ok(Commit::Later(pause));
        }
        let bytes = writes.iter().map(SecretWrite::bytes).sum();
        let written = match self.put_all(applier, writes).await {
            Ok(written) => written,
            Err(error) => {
                self.note(key, Part::Configuration, &error);
                return match error {
                    DeliveryError::Write { source, .. } if source.is_outdated() => Ok(Commit::Outdated),
                    error => Err(error),
                };
            }
        };
        self.troubles.clear(key, Part::Configuration);
        self.artefacts.insert(key.clone(), target.clone());
        if let Some(served) = self.fleets.get_mut(key) {
            served.counts.commits += 1;
            served.counts.written_bytes += bytes as u64;
            served.damaged = None;
            if !settles {
                served.committed = Some(Instant::now());
            }
            served.serve(target);
        }
        Ok(Commit::Committed { bytes, written })
    }
}
