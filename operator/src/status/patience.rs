//! What is gone within a second is not written: an edit that converges quickly costs one status write, not two.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::conditions::Finding;
use oidc::Timestamp;

use super::is_final;
use crate::resolve::Verdict;
use crate::world::ObjectId;

/// How long work may be under way before its object says so, and how often at most it says how far it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Since when there is something to say about each object that may change on its own. Kept in memory: after a restart
/// the second begins anew.
#[derive(Debug, Default)]
pub struct Patience {
    waiting: BTreeMap<ObjectId, Timestamp>,
    said: BTreeMap<ObjectId, Vec<Finding>>,
}

impl Patience {
    /// Whether the verdict may be written now. One that is final always may.
    pub fn admits(&mut self, id: &ObjectId, verdict: &Verdict, now: Timestamp) -> bool {
        if is_final(verdict) {
            self.forget(id);
            return true;
        }
        if self.said.get(id) == Some(&verdict.findings) {
            return true;
        }
        let since = *self.waiting.entry(id.clone()).or_insert(now);
        let is_over = now.since(since) >= PATIENCE;
        if is_over {
            self.waiting.remove(id);
            self.said.insert(id.clone(), verdict.findings.clone());
        }
        is_over
    }

    /// When something that is waited with has to be looked at again.
    pub fn next(&self) -> Option<Timestamp> {
        self.waiting.values().min().map(|since| since.after(PATIENCE))
    }

    /// Keeps only the objects that are there.
    pub fn retain(&mut self, is_there: impl Fn(&ObjectId) -> bool) {
        self.waiting.retain(|id, _| is_there(id));
        self.said.retain(|id, _| is_there(id));
    }

    /// The object says what there is to say: nothing is waited with any more.
    pub fn forget(&mut self, id: &ObjectId) {
        self.waiting.remove(id);
        self.said.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use crds::conditions::{ConditionType, Reason};
    use crds::manifests::Kind;

    use super::*;
    use crate::resolve::Details;
    use crate::world::ObjectKey;

    fn verdict(reason: Reason, summary: ConditionType, message: &str) -> Verdict {
        Verdict {
            generation: 1,
            problems: Vec::new(),
            findings: vec![
                Finding::new(ConditionType::Ready, reason == Reason::Live, reason, message),
                Finding::new(summary, true, reason, message),
            ],
            details: Details::Undecodable,
        }
    }

    #[test]
    fn what_is_under_way_is_said_after_a_second_and_what_is_final_at_once() {
        let id = ObjectId {
            kind: Kind::Client,
            key: ObjectKey::new("a", "b"),
        };
        let at = Timestamp::from_unix_millis;
        let mut patience = Patience::default();
        let on_its_way = |text| verdict(Reason::RollingOut, ConditionType::Reconciling, text);
        let done = verdict(Reason::Live, ConditionType::Ready, "live");
        assert!(patience.admits(&id, &verdict(Reason::Invalid, ConditionType::Stalled, "no"), at(0)));
        assert!(!patience.admits(&id, &on_its_way("0 of 2"), at(0)));
        assert_eq!(patience.next(), Some(at(1000)));
        assert!(
            patience.admits(&id, &done, at(500)),
            "within the second nothing was said"
        );
        assert!(!patience.admits(&id, &on_its_way("0 of 2"), at(600)));
        assert!(
            !patience.admits(&id, &on_its_way("1 of 2"), at(1500)),
            "the second goes on"
        );
        assert!(patience.admits(&id, &on_its_way("1 of 2"), at(1600)));
        assert!(
            patience.admits(&id, &on_its_way("1 of 2"), at(1601)),
            "a write that failed is repeated"
        );
        assert!(!patience.admits(&id, &on_its_way("2 of 3"), at(1700)));
        patience.retain(|_| false);
        assert_eq!(patience.next(), None);
    }

    #[test]
    fn what_is_as_it_was_before_the_second_is_over_is_not_waited_for() {
        let id = ObjectId {
            kind: Kind::Client,
            key: ObjectKey::new("a", "b"),
        };
        let now = Timestamp::from_unix_millis(0);
        let mut patience = Patience::default();
        let on_its_way = verdict(Reason::RollingOut, ConditionType::Reconciling, "1 of 2");
        assert!(!patience.admits(&id, &on_its_way, now));
        assert!(patience.next().is_some());
        patience.forget(&id);
        assert_eq!(
            patience.next(),
            None,
            "or rounds would follow each other without a pause"
        );
    }
}
