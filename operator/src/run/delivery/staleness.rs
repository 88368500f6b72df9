//! Which ready servers have been behind for too long. Every server streams with every replica of the operator, so each
//! replica sees all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oidc::Timestamp;
use snapshot::Head;

/// How long a ready server may be behind.
const PATIENCE: Duration = Duration::from_mins(1);

/// What one server does not serve yet.
#[derive(Clone, Copy, Debug)]
struct Behind {
    head: Head,
    since: Timestamp,
}

/// The servers of one fleet that are behind, by pod UID.
#[derive(Debug, Default)]
pub(super) struct Staleness {
    behind: BTreeMap<String, Behind>,
    names: BTreeSet<String>,
}

impl Staleness {
    /// Takes what is committed and the `ready` pods by UID, each with its name and what it serves as far as its stream
    /// says.
    pub(super) fn observe(&mut self, head: Head, ready: &BTreeMap<String, (String, Option<Head>)>, now: Timestamp) {
        self.behind.retain(|uid, _| ready.contains_key(uid));
        self.names.clear();
        for (uid, (name, serves)) in ready {
            if *serves >= Some(head) {
                self.behind.remove(uid);
                continue;
            }
            let fresh = Behind { head, since: now };
            let behind = self.behind.entry(uid.clone()).or_insert(fresh);
            // It follows, though more is committed meanwhile.
            if *serves >= Some(behind.head) {
                *behind = fresh;
            }
            if now.since(behind.since) >= PATIENCE {
                self.names.insert(name.clone());
            }
        }
    }

    /// Names of the pods that have been behind for too long.
    pub(super) fn stale(&self) -> &BTreeSet<String> {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(observed: &[(i64, u64, Option<u64>)], expected: usize) {
        let head = |generation| Head { epoch: 1, generation };
        let mut staleness = Staleness::default();
        for (second, committed, serves) in observed {
            let ready = BTreeMap::from([("uid".to_owned(), ("main-1".to_owned(), serves.map(head)))]);
            staleness.observe(head(*committed), &ready, Timestamp::from_unix_seconds(*second));
        }
        assert_eq!(staleness.stale().len(), expected, "{observed:?}");
    }

    #[test]
    fn a_server_is_stale_a_minute_after_it_fell_behind() {
        check(&[(0, 1, Some(1)), (100, 1, Some(1))], 0);
        check(&[(0, 2, Some(1)), (59, 2, Some(1))], 0);
        check(&[(0, 2, Some(1)), (60, 2, Some(1))], 1);
        check(&[(0, 2, Some(1)), (60, 2, Some(1)), (61, 2, Some(2))], 0);
    }

    #[test]
    fn a_server_without_a_stream_is_behind() {
        check(&[(0, 1, None), (60, 1, None)], 1);
        check(&[(0, 1, None), (30, 1, Some(1)), (60, 1, None), (100, 1, None)], 0);
    }

    #[test]
    fn a_server_that_follows_many_commits_is_not_stale() {
        check(&[(0, 2, Some(1)), (40, 3, Some(2)), (80, 4, Some(3))], 0);
        check(&[(0, 2, Some(1)), (40, 3, Some(1)), (80, 4, Some(1))], 1);
    }

    #[test]
    fn a_pod_that_is_not_ready_any_more_counts_no_longer() {
        let mut staleness = Staleness::default();
        let head = Head {
            epoch: 1,
            generation: 1,
        };
        let ready = BTreeMap::from([("uid".to_owned(), ("main-1".to_owned(), None))]);
        for second in [0, 60] {
            staleness.observe(head, &ready, Timestamp::from_unix_seconds(second));
        }
        assert_eq!(staleness.stale().len(), 1);
        staleness.observe(head, &BTreeMap::new(), Timestamp::from_unix_seconds(61));
        assert_eq!(staleness.stale().len(), 0);
    }
}
