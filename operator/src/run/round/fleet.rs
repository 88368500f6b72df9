//! The children of every AuthServer in a round, and what they say about it.

use std::collections::BTreeMap;
use std::time::Instant;

use crds::Kind;
use crds::conditions::ConditionType;
use oidc::Timestamp;

use super::{Outcome, Round};
use crate::apply::{Failure, Fenced};
use crate::build::auth_server::{self, BuildInputs, Hosts, infrastructure};
use crate::resolve::{Details, Resolution, is_paused};
use crate::status::{Event, Subject};
use crate::world::{ChildId, Cluster, ObjectId, ObjectKey, World};

impl Round {
    /// Makes the children of every AuthServer as they should be, and adds to the verdicts what there is to say about
    /// them.
    pub(super) async fn children(
        &mut self,
        world: &World,
        resolution: &mut Resolution,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), Fenced> {
        let Some(cluster) = &world.cluster else { return Ok(()) };
        let operator = self.operator.clone();
        for (key, server) in &world.auth_servers {
            let hosts = resolution.artefacts.get(key).map(Hosts::of).unwrap_or_default();
            let inputs = BuildInputs {
                key,
                server,
                hosts: &hosts,
                cluster,
                secrets: &world.secrets,
                operator: &operator,
                now,
            };
            let mut failures = if is_paused(&server.metadata) {
                BTreeMap::new()
            } else {
                self.fleet(&inputs, cluster, outcome).await?
            };
            for (child, failure) in self.delivery.failures(key) {
                self.note_foreign(&child, &failure);
                failures.insert(child, failure);
            }
            let id = ObjectId {
                kind: Kind::AuthServer,
                key: key.clone(),
            };
            if let Some(verdict) = resolution.verdicts.remove(&id) {
                let children = auth_server::children(&inputs);
                let mut findings = infrastructure::infrastructure(&inputs, &children, &failures);
                if findings.iter().all(|finding| finding.kind != ConditionType::Degraded) {
                    findings.extend(self.delivery.degraded(key, Instant::now()));
                }
                let mut verdict = verdict.with_infrastructure(findings);
                if let Details::AuthServer { version, .. } = &mut verdict.details {
                    *version = infrastructure::version(&inputs);
                }
                resolution.verdicts.insert(id, verdict);
            }
        }
        Ok(())
    }

    async fn fleet(
        &mut self,
        inputs: &BuildInputs<'_>,
        cluster: &Cluster,
        outcome: &mut Outcome,
    ) -> Result<BTreeMap<ChildId, Failure>, Fenced> {
        let children = auth_server::children(inputs);
        let applied = self.applier.children(&children, cluster).await?;
        for after in [applied.retry_after, children.again_after].into_iter().flatten() {
            outcome.again(after);
        }
        let subject = subject(inputs.key, &children.owner.uid);
        for change in &applied.changes {
            tracing::info!(fleet = %inputs.key, %change, "child changed");
            if let Some(event) = Event::of_change(subject.clone(), change, inputs.now) {
                self.events.tell(&event).await?;
            }
        }
        for (child, failure) in &applied.failures {
            tracing::debug!(fleet = %inputs.key, %child, ?failure, "not as it should be");
            self.note_foreign(child, failure);
        }
        Ok(applied.failures)
    }

    /// Remembers for this round which names others hold.
    pub(super) fn note_foreign(&mut self, child: &ChildId, failure: &Failure) {
        if matches!(failure, Failure::Foreign(_)) {
            self.foreign.insert(child.clone());
        }
    }
}

fn subject(key: &ObjectKey, uid: &str) -> Subject {
    Subject {
        id: ObjectId {
            kind: Kind::AuthServer,
            key: key.clone(),
        },
        uid: uid.to_owned(),
    }
}
