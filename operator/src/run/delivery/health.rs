//! What delivery has to say about a fleet: what cannot be written, and which servers do not follow.

use std::collections::BTreeMap;
use std::time::Instant;

use crds::conditions::{ConditionType, Finding, Reason};
use oidc::Timestamp;
use snapshot::Artefact;

use super::trouble::Part;
use super::{Delivery, DeliveryError};
use crate::apply::Failure;
use crate::apply::children::some;
use crate::log::chain;
use crate::world::{ChildId, ObjectKey, World};

impl Delivery {
    /// Secrets of a fleet that cannot be written until somebody changes something.
    pub fn failures(&self, fleet: &ObjectKey) -> BTreeMap<ChildId, Failure> {
        self.troubles.failures(fleet)
    }

    /// What has kept changes from all or some servers of a fleet for too long.
    pub fn degraded(&self, fleet: &ObjectKey, now: Instant) -> Option<Finding> {
        let degraded = |reason, text| Some(Finding::new(ConditionType::Degraded, true, reason, text));
        if let Some(text) = self.troubles.lasting(fleet, now) {
            return degraded(Reason::Progressing, text);
        }
        let stale = self.fleets.get(fleet)?.staleness.stale();
        if stale.is_empty() {
            return None;
        }
        let pods: Vec<String> = stale.iter().cloned().collect();
        let text = format!(
            "ready pods have not confirmed the current configuration for a minute and may serve an older one: {}; see \
             their logs, and whether they reach the operator (NetworkPolicies, DNS)",
            some(&pods)
        );
        degraded(Reason::Stale, text)
    }

    /// Which ready servers are behind.
    pub(super) fn observe_servers(&mut self, world: &World, now: Timestamp) {
        let acks = self.acks().borrow().clone();
        for (key, served) in &mut self.fleets {
            let Some(head) = self.artefacts.get(key).map(Artefact::head) else {
                continue;
            };
            let answers = acks.fleets.get(&served.fleet);
            let serves = |uid: &String| {
                let pod = answers?.pods.get(uid).filter(|pod| pod.disconnected.is_none())?;
                Some(pod.answer.as_ref()?.head)
            };
            let pods = world.cluster.as_ref().and_then(|cluster| cluster.pods.get(key));
            let ready = pods.into_iter().flatten().filter(|(_, pod)| pod.is_ready);
            let ready = ready.map(|(uid, pod)| (uid.clone(), (pod.name.clone(), serves(uid))));
            served.staleness.observe(head, &ready.collect(), now);
        }
    }

    /// Says once what cannot be written, and keeps it for the AuthServer to tell.
    pub(super) fn note(&mut self, fleet: &ObjectKey, part: Part, error: &DeliveryError) {
        if self.troubles.note(fleet, part, error, Instant::now()) {
            tracing::warn!(%fleet, ?part, error = chain(error), "cannot be written");
        }
    }
}
