//! What is written into `status`, and which Events tell of it: pure functions of the live object, the verdict on it and
//! the time.
//!
//! [`report`] compares: what the object says already costs nothing, and an Event tells of a transition only. [`Patience`]
//! keeps what is gone within a second from being written. The writes are `apply`'s.

mod events;
mod patience;
mod shown;

use crds::conditions::{self, ConditionType};
use crds::manifests::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use oidc::Timestamp;
use serde_json::{Value, json};

use crate::resolve::Verdict;
use crate::world::{ObjectId, World};
use shown::Shown;

pub use events::{Event, EventKind};
pub use patience::Patience;

/// Field manager of everything in `status`.
pub const MANAGER: &str = "nauthera-operator-status";

/// The object that a verdict is about, as the API server shows it.
#[derive(Clone, Copy, Debug)]
pub enum Live<'a> {
    /// An AuthServer.
    AuthServer(&'a crds::AuthServer),
    /// A Realm.
    Realm(&'a crds::Realm),
    /// A Client.
    Client(&'a crds::Client),
    /// An object that does not parse.
    Raw(&'a Value),
}

impl<'a> Live<'a> {
    /// The object of this name, when the world holds it.
    pub fn find(world: &'a World, id: &ObjectId) -> Option<Self> {
        if let Some(raw) = world.cluster.as_ref().and_then(|cluster| cluster.raw.get(id)) {
            return Some(Self::Raw(raw));
        }
        match id.kind {
            Kind::AuthServer => world.auth_servers.get(&id.key).map(|object| Self::AuthServer(object)),
            Kind::Realm => world.realms.get(&id.key).map(|object| Self::Realm(object)),
            Kind::Client => world.clients.get(&id.key).map(|object| Self::Client(object)),
        }
    }

    /// Its UID; empty where nobody gives one, as in a folder.
    pub fn uid(self) -> &'a str {
        let uid = match self {
            Self::AuthServer(object) => object.metadata.uid.as_deref(),
            Self::Realm(object) => object.metadata.uid.as_deref(),
            Self::Client(object) => object.metadata.uid.as_deref(),
            Self::Raw(object) => object.pointer("/metadata/uid").and_then(Value::as_str),
        };
        uid.unwrap_or_default()
    }

    /// What it says about itself.
    fn conditions(self) -> Vec<Condition> {
        let conditions = match self {
            Self::AuthServer(object) => object.status.as_ref().map(|status| status.conditions.clone()),
            Self::Realm(object) => object.status.as_ref().map(|status| status.conditions.clone()),
            Self::Client(object) => object.status.as_ref().map(|status| status.conditions.clone()),
            Self::Raw(object) => object
                .pointer("/status/conditions")
                .and_then(|conditions| serde_json::from_value(conditions.clone()).ok()),
        };
        ours(&conditions.unwrap_or_default())
    }
}

/// The object that a write or an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its kind, namespace and name.
    pub id: ObjectId,
    /// Its UID: an object created anew under the name is another one.
    pub uid: String,
}

/// What has to be written about an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The body of a server-side apply to `status`; `None` when the object says it already.
    pub patch: Option<Value>,
    /// What happened.
    pub events: Vec<Event>,
}

/// What has to be written about an object for its status to say what the verdict says.
///
/// `observedGeneration` moves only when the verdict is final for the generation: ready, or stalled.
pub fn report(id: &ObjectId, live: Live<'_>, verdict: &Verdict, now: Timestamp) -> Report {
    let changed = match live {
        Live::AuthServer(object) => changed(object.status.as_ref(), verdict, now),
        Live::Realm(object) => changed(object.status.as_ref(), verdict, now),
        Live::Client(object) => changed(object.status.as_ref(), verdict, now),
        Live::Raw(object) => raw(object, verdict, now),
    };
    let Some(changed) = changed else {
        return Report::default();
    };
    let subject = Subject {
        id: id.clone(),
        uid: live.uid().to_owned(),
    };
    Report {
        events: events::transitions(&subject, &live.conditions(), &changed.conditions),
        patch: Some(json!({
            "apiVersion": "auth.nauthera.io/v1alpha1",
            "kind": id.kind.as_str(),
            "metadata": {"namespace": id.key.namespace, "name": id.key.name, "uid": subject.uid},
            "status": changed.status,
        })),
    }
}

/// A status that says something else than the live one.
struct Changed {
    status: Value,
    conditions: Vec<Condition>,
}

/// Whether an object surely says what the verdict says; otherwise [`report`] tells. It does of nearly every object in
/// nearly every round.
pub fn is_said(live: Live<'_>, verdict: &Verdict) -> bool {
    match live {
        Live::AuthServer(object) => object.status.as_ref().is_some_and(|status| says(status, verdict)),
        Live::Realm(object) => object.status.as_ref().is_some_and(|status| says(status, verdict)),
        Live::Client(object) => object.status.as_ref().is_some_and(|status| says(status, verdict)),
        Live::Raw(_) => false,
    }
}

fn changed<S: Shown>(live: Option<&S>, verdict: &Verdict, now: Timestamp) -> Option<Changed> {
    let now = moment(now);
    let mut before = live.cloned().unwrap_or_else(|| {
        let mut none = S::default();
        *none.observed_generation() = -1;
        none
    });
    *before.conditions() = ours(before.conditions());
    let mut status = before.clone();
    if is_final(verdict) {
        *status.observed_generation() = verdict.generation;
    }
    conditions::replace(status.conditions(), verdict.findings.clone(), verdict.generation, now);
    status.show(&verdict.details, &before, now);
    if live.is_some() && status == before {
        return None;
    }
    Some(Changed {
        status: serde_json::to_value(&status).ok()?,
        conditions: std::mem::take(status.conditions()),
    })
}

fn says<S: Shown>(live: &S, verdict: &Verdict) -> bool {
    (!is_final(verdict) || live.observed() == verdict.generation)
        && conditions::say(live.said(), &verdict.findings, verdict.generation)
        && live.shows(&verdict.details)
}

/// The same for an object that does not parse: what else its status shows stays.
fn raw(object: &Value, verdict: &Verdict, now: Timestamp) -> Option<Changed> {
    let generation = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let before = object.get("status").cloned().unwrap_or_else(|| json!({}));
    let mut conditions = Live::Raw(object).conditions();
    conditions::replace(&mut conditions, verdict.findings.clone(), generation, moment(now));
    let mut status = before.clone();
    let fields = status.as_object_mut()?;
    if is_final(verdict) {
        fields.insert("observedGeneration".to_owned(), generation.into());
    }
    fields.insert("conditions".to_owned(), serde_json::to_value(&conditions).ok()?);
    (status != before).then_some(Changed { status, conditions })
}

/// Whether the verdict is final for the generation of the object that it speaks of.
fn is_final(verdict: &Verdict) -> bool {
    verdict.is_ready() || verdict.is_stalled()
}

/// Those of other writers are theirs.
fn ours(conditions: &[Condition]) -> Vec<Condition> {
    let known = |condition: &&Condition| ConditionType::parse(&condition.type_).is_some();
    conditions.iter().filter(known).cloned().collect()
}

fn moment(now: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(now.unix_seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
