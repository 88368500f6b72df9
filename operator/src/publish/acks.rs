//! What servers answered, as a value for the compiler and for status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oidc::Timestamp;
use snapshot::{Acknowledgement, Acknowledgements, Fleet, Hash, Head, ServerVersion};

/// How far ahead of the clock an epoch may lie. A server that claims more is not believed: it could otherwise push the
/// epoch to a number that no later commit can exceed.
const EPOCH_AHEAD: Duration = Duration::from_hours(24);

/// How long the answer of a server that went is remembered: it may only be dialling again.
const REMEMBERED: Duration = Duration::from_mins(10);

/// What the servers of all fleets answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    /// By fleet.
    pub fleets: BTreeMap<Fleet, FleetAcks>,
}

/// What the servers of one fleet answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetAcks {
    /// By pod UID.
    pub pods: BTreeMap<String, PodAck>,
    /// The highest position that any server ever named.
    pub highest: Option<Head>,
}

/// What one server last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAck {
    /// Name of the pod.
    pub pod: String,
    /// Which stream said it: a later stream of the same pod replaces an earlier one.
    pub stream: u64,
    /// When its stream ended; `None` while it is connected.
    pub disconnected: Option<Timestamp>,
    /// What it serves; `None` when it serves nothing.
    pub answer: Option<Acknowledgement>,
    /// Why it refused the last update as a whole (a short name and a sentence).
    pub refused: Option<(String, String)>,
    /// SHA-256 of the CA bundle that it trusts.
    pub bundle: Option<Hash>,
    /// Its version.
    pub server_version: ServerVersion,
    /// Where it got its configuration from.
    pub source: Source,
}

/// Where a server got its configuration from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It serves nothing.
    None,
    /// From files.
    Mount,
    /// From a stream.
    Stream,
}

impl From<snapshot::proto::Source> for Source {
    fn from(source: snapshot::proto::Source) -> Self {
        match source {
            snapshot::proto::Source::None => Self::None,
            snapshot::proto::Source::Mount => Self::Mount,
            snapshot::proto::Source::Stream => Self::Stream,
        }
    }
}

impl FleetAcks {
    /// The answers in the form that the next artefact is computed from. `ready` are the replicas, by pod UID, that
    /// people are sent to.
    pub fn acknowledgements(&self, ready: BTreeSet<String>) -> Acknowledgements {
        let answered = |(uid, pod): (&String, &PodAck)| Some((uid.clone(), pod.answer.clone()?));
        Acknowledgements {
            ready,
            by_pod: self.pods.iter().filter_map(answered).collect(),
            highest: self.highest,
        }
    }

    /// How many servers are connected.
    pub fn connected(&self) -> usize {
        self.pods.values().filter(|pod| pod.disconnected.is_none()).count()
    }

    /// The CA bundles that connected servers trust, one entry each; see [`crate::pki::Rotation::issuer`].
    pub fn bundles(&self) -> impl Iterator<Item = Option<Hash>> {
        let connected = self.pods.values().filter(|pod| pod.disconnected.is_none());
        connected.map(|pod| pod.bundle)
    }

    pub(super) fn put(&mut self, uid: &str, ack: PodAck, now: Timestamp) {
        if let Some(answer) = &ack.answer {
            self.note(answer.head, now);
        }
        self.pods
            .retain(|_, pod| pod.disconnected.is_none_or(|since| now.since(since) < REMEMBERED));
        match self.pods.get(uid) {
            Some(present) if present.stream > ack.stream => {}
            _ => {
                self.pods.insert(uid.to_owned(), ack);
            }
        }
    }

    pub(super) fn disconnect(&mut self, uid: &str, stream: u64, now: Timestamp) {
        if let Some(pod) = self.pods.get_mut(uid)
            && pod.stream == stream
        {
            pod.disconnected = Some(now);
        }
    }

    fn note(&mut self, head: Head, now: Timestamp) {
        let latest = u64::try_from(now.after(EPOCH_AHEAD).unix_seconds()).unwrap_or(0);
        if head.epoch > latest || head.generation > u64::MAX / 2 {
            tracing::warn!(%head, "server names an impossible position");
        } else {
            self.highest = self.highest.max(Some(head));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(stream: u64, epoch: u64) -> PodAck {
        PodAck {
            pod: "a".to_owned(),
            stream,
            disconnected: None,
            answer: Some(Acknowledgement {
                head: Head { epoch, generation: 3 },
                content: Hash::of(b""),
                rejected: BTreeMap::new(),
            }),
            refused: None,
            bundle: None,
            server_version: ServerVersion(0, 1, 0),
            source: Source::Stream,
        }
    }

    #[test]
    fn a_late_word_of_an_old_stream_does_not_replace_that_of_a_new_one() {
        let now = Timestamp::from_unix_seconds(1000);
        let mut fleet = FleetAcks::default();
        fleet.put("uid", ack(2, 1000), now);
        fleet.put("uid", ack(1, 900), now);
        fleet.disconnect("uid", 1, now);
        assert_eq!(fleet.pods["uid"], ack(2, 1000));
        fleet.disconnect("uid", 2, now);
        assert_eq!(fleet.connected(), 0);
        fleet.put("other", ack(3, 1000), now.after(REMEMBERED));
        assert!(!fleet.pods.contains_key("uid"));
    }

    #[test]
    fn an_epoch_from_the_far_future_is_not_believed() {
        let now = Timestamp::from_unix_seconds(1000);
        let mut fleet = FleetAcks::default();
        fleet.put("uid", ack(1, u64::MAX), now);
        assert_eq!(fleet.highest, None);
        fleet.put("uid", ack(1, 1001), now);
        assert_eq!(fleet.highest.unwrap().epoch, 1001);
    }
}
