//! Events: told at most once each, and never so many that they are a load.
//!
//! The name of an Event follows from what it tells, so that a leader that takes over tells nothing twice. An Event that
//! cannot be written is lost: status says the same.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hyper::Request;
use serde_json::{Value, json};
use snapshot::Hash;

use super::{Applier, ApplyError, Fenced, sending};
use crate::status::Event;

/// Who tells: fixed, so that filters can name it.
const CONTROLLER: &str = "auth.nauthera.io/operator";

/// How many Events may be told at once, and how many in a second after that.
const BURST: f64 = 50.0;
const PER_SECOND: f64 = 2.0;

/// Tells Events.
#[derive(Debug)]
pub struct Events {
    applier: Applier,
    instance: String,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = passed.mul_add(PER_SECOND, self.tokens).min(BURST);
        self.filled = now;
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }
}

impl Events {
    /// Tells Events through `applier`, as the process (the pod) `instance`.
    pub fn new(applier: Applier, instance: impl Into<String>) -> Self {
        Self {
            applier,
            instance: instance.into(),
            bucket: Mutex::new(Bucket {
                tokens: BURST,
                filled: Instant::now(),
            }),
        }
    }

    /// Tells an Event, unless it was told already or too many were told just now. Fails only when this process may not
    /// write.
    pub async fn tell(&self, event: &Event) -> Result<(), Fenced> {
        let may = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(Instant::now())
        };
        if !may {
            tracing::debug!(object = %event.subject.id, reason = event.reason, "an Event is left out: too many");
            return Ok(());
        }
        let object = manifest(event, &self.instance, jiff::Timestamp::now());
        let namespace = &event.subject.id.key.namespace;
        let uri = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let created = match sending(Request::post(uri), &object) {
            Ok(request) => self.applier.write::<Value>("create", "events", request).await,
            Err(error) => Err(error),
        };
        match created {
            Ok(_) | Err(ApplyError::AlreadyExists(_)) => Ok(()),
            Err(ApplyError::Fenced(fenced)) => Err(fenced),
            Err(error) => {
                tracing::debug!(object = %event.subject.id, %error, "an Event could not be written");
                Ok(())
            }
        }
    }
}

/// The Event as an API server takes it.
fn manifest(event: &Event, instance: &str, now: jiff::Timestamp) -> Value {
    let Event {
        subject,
        kind,
        reason,
        action,
        note,
        moment,
    } = event;
    let parts = [subject.uid.as_str(), reason, note, moment];
    let hash = Hash::of_parts(parts.map(str::as_bytes)).to_string();
    let name: String = subject.id.key.name.chars().take(200).collect();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{name}.{}", hash.get(..16).unwrap_or(&hash)),
            "namespace": subject.id.key.namespace,
        },
        "eventTime": format!("{now:.6}"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "action": action,
        "reason": reason,
        "type": kind.as_str(),
        "note": note,
        "regarding": {
            "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
            "kind": subject.id.kind.as_str(),
            "namespace": subject.id.key.namespace,
            "name": subject.id.key.name,
            "uid": subject.uid,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crds::manifests::Kind;

    use super::*;
    use crate::status::{EventKind, Subject};
    use crate::world::{ObjectId, ObjectKey};

    fn event(note: &str, moment: &str) -> Event {
        let id = ObjectId {
            kind: Kind::Client,
            key: ObjectKey::new("apps", "web"),
        };
        let subject = Subject {
            id,
            uid: "u-1".to_owned(),
        };
        Event::new(subject, EventKind::Normal, ("Live", "Program"), note, moment)
    }

    #[test]
    fn the_same_transition_has_the_same_name_and_another_one_another() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let name = |note, moment| manifest(&event(note, moment), "pod", now)["metadata"]["name"].clone();
        assert_eq!(name("live", "1"), name("live", "1"));
        assert_ne!(name("live", "1"), name("live", "2"));
        assert_ne!(name("live", "1"), name("gone", "1"));
        assert_eq!(
            manifest(&event("a", "1"), "pod", now)["eventTime"],
            "1970-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn a_flood_is_cut_and_the_rest_comes_at_a_rate() {
        let start = Instant::now();
        let mut bucket = Bucket {
            tokens: BURST,
            filled: start,
        };
        let taken = |bucket: &mut Bucket, at| (0..200).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 50);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(10)), 20);
        assert_eq!(taken(&mut bucket, start + Duration::from_hours(1)), 50);
    }
}
