//! The condition types and reasons that objects report: closed, documented sets.
//!
//! Which condition an object gets is decided by the operator; this module owns the words and the
//! pure bookkeeping (a transition time moves only when the status does).

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{Schema, SchemaGenerator, json_schema};

/// Longest message of a condition, in characters; longer ones are cut.
pub const MAX_MESSAGE_CHARS: usize = 1024;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $line:literal])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $line])* $variant,)+
        }

        impl $name {
            /// Every member, in the order in which objects list them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word as it stands in `status.conditions`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// The member of this name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }

            /// What the word means, for the reference documentation.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($line),+),)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Type of a condition. `Ready` is the summary; the positive ones after it explain it; the rest
    /// are abnormal and present only while they hold.
    ConditionType {
        /// The object is live on every ready replica, as its spec says (for an AuthServer: the fleet is up and serves its configuration). The summary of all others.
        Ready,
        /// The spec is valid, admitted by the other side, and without conflict.
        Accepted,
        /// Every object and Secret that the spec refers to exists and can be used.
        ResolvedRefs,
        /// The Secrets that the operator generates for the object (client credentials, signing and sealing keys) are written.
        CredentialsReady,
        /// The child objects (Deployment, Service, certificates, migration Job) are as they should be.
        Infrastructure,
        /// The current configuration is live on every ready replica.
        Programmed,
        /// Work is under way; nothing needs to be done. Excludes Stalled.
        Reconciling,
        /// No progress without a change by somebody; the message says by whom and what. Excludes Reconciling.
        Stalled,
        /// The object is served, but something around it is not as it should be.
        Degraded,
        /// The annotation auth.nauthera.io/paused freezes the object. It stays Ready as long as it is as its spec says.
        Paused,
        /// A newer server version is offered; set spec.version (or spec.upgrade: WithOperator) to take it.
        UpdateAvailable,
    }
}

words! {
    /// Why a condition has its status.
    Reason {
        /// Live on every ready replica.
        Live,
        /// The spec is valid and taken.
        Accepted,
        /// Every reference is found.
        Resolved,
        /// The generated Secrets are written.
        Issued,
        /// Every child object is up to date and available.
        Available,
        /// The operator is working on it.
        Progressing,
        /// The configuration is on its way; some ready replicas still serve the former one.
        RollingOut,
        /// The child objects are being created or updated.
        Deploying,
        /// The database schema is being migrated before the servers roll out.
        Migrating,
        /// A reference is missing; it may still be applied, so the operator waits two minutes before it calls the object stalled.
        WaitingForReference,
        /// The fleet has no ready replica to serve the object.
        NoReadyReplicas,
        /// A rotated secret is accepted by the servers and waits for its turn to be written, or the former one is still in its overlap.
        Rotating,
        /// A rotated secret waits for replicas that do not accept it yet, for more than 15 minutes.
        RotationBlocked,
        /// The spec contradicts itself or its surroundings; the message names the field and the fix.
        Invalid,
        /// The other side does not admit it: the realm's spec.clients.admit or the fleet's spec.realms.admit.
        NotAdmitted,
        /// Another object holds the same issuer or client id; the older one keeps it.
        Conflict,
        /// A referenced object or Secret does not exist.
        ReferenceNotFound,
        /// A referenced object or Secret exists but cannot be used: a key is missing or its content is malformed.
        ReferenceInvalid,
        /// A child object of the name the operator needs belongs to somebody else; it is left alone.
        ResourceConflict,
        /// The auth servers refused the object; they keep serving its former version, when there is one.
        RejectedByServer,
        /// The object does not fit into the configuration of its fleet; a served one keeps its former version.
        FleetFull,
        /// The object does not parse against the API of this operator version; its last good version keeps being served.
        Undecodable,
        /// The operator lacks the right to read or write what the object needs.
        Forbidden,
        /// A migration is needed and spec.migrations is Manual.
        MigrationRequired,
        /// The migration Job failed.
        MigrationFailed,
        /// The Deployment does not become available.
        RolloutFailed,
        /// Unusually much would vanish from the configuration at once, so it is held back until it is confirmed or restored.
        ShrinkHeld,
        /// Some replicas serve an old configuration, or are cut off from their database.
        Stale,
        /// The annotation auth.nauthera.io/paused is set; what the spec says by now waits until it is removed.
        PausedByAnnotation,
        /// A newer server version is offered.
        NewerVersion,
        /// The object is being deleted.
        Deleting,
    }
}

/// What a reason asks of the people around the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prognosis {
    /// As it should be.
    Good,
    /// It will get better on its own: `Reconciling`.
    Progressing,
    /// Somebody has to act: `Stalled`.
    Terminal,
}

impl Reason {
    /// Whether an object that is not `Ready` for this reason is reconciling or stalled.
    pub const fn prognosis(self) -> Prognosis {
        match self {
            Self::Live | Self::Accepted | Self::Resolved | Self::Issued | Self::Available | Self::NewerVersion => {
                Prognosis::Good
            }
            Self::Progressing
            | Self::RollingOut
            | Self::Deploying
            | Self::Migrating
            | Self::WaitingForReference
            | Self::NoReadyReplicas
            | Self::Rotating
            | Self::RotationBlocked
            | Self::Stale
            | Self::Deleting => Prognosis::Progressing,
            Self::Invalid
            | Self::NotAdmitted
            | Self::Conflict
            | Self::ReferenceNotFound
            | Self::ReferenceInvalid
            | Self::ResourceConflict
            | Self::RejectedByServer
            | Self::FleetFull
            | Self::Undecodable
            | Self::Forbidden
            | Self::MigrationRequired
            | Self::MigrationFailed
            | Self::RolloutFailed
            | Self::ShrinkHeld
            | Self::PausedByAnnotation => Prognosis::Terminal,
        }
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

impl ConditionStatus {
    /// The word as it stands in `status.conditions`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A condition as the operator decides it, before time and generation are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which condition.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// A sentence for people: the field and the fix, when something is wrong.
    pub message: String,
}

impl Finding {
    /// A finding of this kind.
    pub fn new(
        kind: ConditionType,
        holds: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            status: holds.into(),
            reason,
            message: message.into(),
        }
    }
}

/// The condition of this type, when there is one.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Whether the condition of this type is there and `True`.
pub fn holds(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == ConditionStatus::True.as_str())
}

/// Sets one condition for `generation` of the object. `lastTransitionTime` becomes `now` only when
/// the status changes. Returns whether anything differs from before.
pub fn set(conditions: &mut Vec<Condition>, finding: Finding, generation: i64, now: Timestamp) -> bool {
    let Finding {
        kind,
        status,
        reason,
        message,
    } = finding;
    let former = conditions.iter().position(|condition| condition.type_ == kind.as_str());
    let since = former
        .and_then(|at| conditions.get(at))
        .filter(|former| former.status == status.as_str())
        .map_or(Time(whole_seconds(now)), |former| former.last_transition_time.clone());
    let condition = Condition {
        last_transition_time: since,
        message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
        observed_generation: Some(generation),
        reason: reason.as_str().to_owned(),
        status: status.as_str().to_owned(),
        type_: kind.as_str().to_owned(),
    };
    match former.and_then(|at| conditions.get_mut(at)) {
        Some(former) if *former == condition => false,
        Some(former) => {
            *former = condition;
            true
        }
        None => {
            conditions.push(condition);
            conditions.sort_by_key(|condition| ConditionType::parse(&condition.type_));
            true
        }
    }
}

/// Removes a condition. Returns whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, kind: ConditionType) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != kind.as_str());
    conditions.len() != before
}

/// Whether `conditions` say exactly these findings, so that [`replace`] would change nothing.
pub fn say(conditions: &[Condition], findings: &[Finding], generation: i64) -> bool {
    let is_said = |finding: &Finding| {
        find(conditions, finding.kind).is_some_and(|condition| {
            condition.status == finding.status.as_str()
                && condition.reason == finding.reason.as_str()
                && condition.message == finding.message
                && condition.observed_generation == Some(generation)
        })
    };
    conditions.len() == findings.len() && findings.iter().all(is_said)
}

/// Makes `conditions` say exactly these findings: what is not among them goes. Returns whether
/// anything differs from before, thus whether the status must be written.
pub fn replace(conditions: &mut Vec<Condition>, findings: Vec<Finding>, generation: i64, now: Timestamp) -> bool {
    let kept: Vec<&str> = findings.iter().map(|finding| finding.kind.as_str()).collect();
    let before = conditions.len();
    conditions.retain(|condition| kept.contains(&condition.type_.as_str()));
    let mut changed = conditions.len() != before;
    for finding in findings {
        changed |= set(conditions, finding, generation, now);
    }
    changed
}

/// Kubernetes keeps times in whole seconds; more precise ones would differ after a round trip.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Schema of `status.conditions`, as Kubernetes' own conditions have it.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "What is known about the object, one entry for each condition type. Types and reasons are listed in the reference documentation.",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 316, "description": "Type of the condition.",
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"], "description": "True, False or Unknown."
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, in one word."
                },
                "message": {"type": "string", "maxLength": 32768, "description": "Why, for people: the field and the fix."},
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When the status last changed."
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "Generation of the object that the condition was decided for."
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(holds: bool, message: &str) -> Finding {
        let reason = if holds { Reason::Live } else { Reason::RollingOut };
        Finding::new(ConditionType::Ready, holds, reason, message)
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, ready(false, "1 of 2"), 1, at(10)));
        assert!(set(&mut conditions, ready(false, "2 of 2"), 2, at(20)));
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert!(set(&mut conditions, ready(true, "live"), 2, at(30)));
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn saying_the_same_again_changes_nothing() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(true, "live"), 1, at(10));
        let before = conditions.clone();
        assert!(!set(&mut conditions, ready(true, "live"), 1, at(99)));
        assert!(!replace(&mut conditions, vec![ready(true, "live")], 1, at(99)));
        assert_eq!(conditions, before);
    }

    #[test]
    fn transition_times_survive_a_round_trip_through_the_api_server() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            ready(true, "live"),
            1,
            Timestamp::from_millisecond(10_500).unwrap(),
        );
        let text = serde_json::to_string(&conditions).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Condition>>(&text).unwrap(), conditions);
        assert!(text.contains("1970-01-01T00:00:10Z"), "{text}");
    }

    #[test]
    fn conditions_keep_one_order_and_vanish_when_they_no_longer_hold() {
        let mut conditions = Vec::new();
        let stalled = Finding::new(ConditionType::Stalled, true, Reason::Invalid, "spec.issuer: …");
        replace(&mut conditions, vec![stalled, ready(false, "no")], 1, at(1));
        let types: Vec<&str> = conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["Ready", "Stalled"]);
        assert!(replace(&mut conditions, vec![ready(true, "live")], 1, at(2)));
        assert_eq!(conditions.len(), 1);
        assert!(holds(&conditions, ConditionType::Ready));
        assert!(!remove(&mut conditions, ConditionType::Stalled));
    }

    #[test]
    fn an_endless_message_is_cut() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(false, &"ü".repeat(5000)), 1, at(1));
        assert_eq!(conditions[0].message.chars().count(), MAX_MESSAGE_CHARS);
    }

    #[test]
    fn every_word_is_found_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
            assert!(!reason.description().is_empty());
        }
        assert_eq!(ConditionType::parse("Nonsense"), None);
    }
}
