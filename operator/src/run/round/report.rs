//! Status and Events of a round: written where something else is to be said than the object says.

use futures::StreamExt as _;
use oidc::Timestamp;

use super::{FAILED, Outcome, REFUSED, Round};
use crate::apply::{ApplyError, Fenced};
use crate::log::chain;
use crate::resolve::Resolution;
use crate::status::{self, Live, Report};
use crate::world::{ObjectId, World};

/// Status writes at the same time.
const AT_ONCE: usize = 16;

impl Round {
    /// Writes what is to be said.
    pub(super) async fn report(
        &mut self,
        world: &World,
        resolution: &Resolution,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), Fenced> {
        self.patience.retain(|id| resolution.verdicts.contains_key(id));
        let mut news: Vec<ObjectId> = Vec::new();
        for (id, verdict) in &resolution.verdicts {
            let Some(live) = Live::find(world, id) else { continue };
            if status::is_said(live, verdict) {
                self.patience.forget(id);
            } else if self.patience.admits(id, verdict, now) {
                news.push(id.clone());
            }
        }
        if let Some(next) = self.patience.next() {
            outcome.again(next.since(now).max(std::time::Duration::from_millis(1)));
        }
        let round = &*self;
        // Of thousands of objects that come at once only so many bodies are in memory as are being sent.
        let writes = futures::stream::iter(news).map(|id| async move {
            let verdict = resolution.verdicts.get(&id).zip(Live::find(world, &id));
            let report = verdict.map(|(verdict, live)| status::report(&id, live, verdict, now));
            let written = round.write(&id, report.unwrap_or_default()).await;
            (id, written)
        });
        let written: Vec<_> = writes.buffer_unordered(AT_ONCE).collect().await;
        for (id, result) in written {
            match result {
                Ok(()) => {}
                Err(ApplyError::Fenced(fenced)) => return Err(fenced),
                // Gone, or another one of that name: the watch shows it.
                Err(ApplyError::NotFound(_) | ApplyError::Conflict(_)) => outcome.again(REFUSED),
                Err(error) => {
                    tracing::warn!(object = %id, error = chain(&error), "status cannot be written");
                    let is_refused = matches!(error, ApplyError::Forbidden(_) | ApplyError::Invalid(_));
                    outcome.again(if is_refused { REFUSED } else { FAILED });
                }
            }
        }
        Ok(())
    }

    async fn write(&self, id: &ObjectId, report: Report) -> Result<(), ApplyError> {
        if let Some(patch) = &report.patch {
            let written = self.applier.status(id, patch).await?;
            // Ahead of the watch, so that the next round does not say it again.
            if let Ok(object) = serde_json::from_value(written) {
                self.cache.note_status(id.kind, object);
            }
        }
        for event in &report.events {
            self.events.tell(event).await?;
        }
        Ok(())
    }
}
