//! Events tell of transitions: from what an object said to what it is going to say.

use crds::conditions::{self, ConditionStatus, ConditionType, Prognosis, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Subject;
use crate::apply::Change;

/// Longest note of an Event, in bytes.
const MAX_NOTE_BYTES: usize = 1000;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The object.
    pub subject: Subject,
    /// Whether somebody should look at it.
    pub kind: EventKind,
    /// Why, in one word.
    pub reason: String,
    /// What the operator did or found, in one word.
    pub action: String,
    /// A sentence for people.
    pub note: String,
    /// What tells this transition from the same one at another time. The same Event told twice is one.
    pub moment: String,
}

/// Type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// Somebody should look at it.
    Warning,
}

impl EventKind {
    /// The word in `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Event {
    /// A change to a child that its owner tells of.
    pub fn of_change(subject: Subject, change: &Change, now: oidc::Timestamp) -> Option<Self> {
        let (reason, note) = (change.reason()?, change.to_string());
        let kind = match change {
            Change::PutBack(..) => EventKind::Warning,
            Change::Created(_) | Change::Updated(_) | Change::Adopted(_) | Change::Deleted(_) => EventKind::Normal,
        };
        let moment = now.unix_millis().to_string();
        Some(Self::new(subject, kind, (reason, "Apply"), &note, moment))
    }

    /// An Event about a subject; its note is cut to what an API server takes.
    pub fn new(
        subject: Subject,
        kind: EventKind,
        (reason, action): (&str, &str),
        note: &str,
        moment: impl Into<String>,
    ) -> Self {
        Self {
            subject,
            kind,
            reason: reason.to_owned(),
            action: action.to_owned(),
            note: cut(note),
            moment: moment.into(),
        }
    }
}

fn cut(note: &str) -> String {
    let mut end = note.len().min(MAX_NOTE_BYTES);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}

/// The transitions that are worth telling.
pub(super) fn transitions(subject: &Subject, before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tell = |kind, condition: &Condition, action: &str| {
        let moment = format!("{} {}", condition.last_transition_time.0, condition.type_);
        let words = (condition.reason.as_str(), action);
        events.push(Event::new(subject.clone(), kind, words, &condition.message, moment));
    };
    if let Some(ready) = conditions::find(after, ConditionType::Ready) {
        let former = conditions::find(before, ConditionType::Ready);
        let was_ready = former.is_some_and(is_true);
        let is_terminal = Reason::parse(&ready.reason).is_some_and(|reason| reason.prognosis() == Prognosis::Terminal);
        let kind = if is_terminal {
            EventKind::Warning
        } else {
            EventKind::Normal
        };
        match (was_ready, is_true(ready)) {
            (false, true) => tell(EventKind::Normal, ready, "Program"),
            (true, false) => tell(kind, ready, "Program"),
            (false, false) if is_terminal && former.is_none_or(|former| former.reason != ready.reason) => {
                tell(kind, ready, "Judge");
            }
            (false, false) | (true, true) => {}
        }
    }
    // What does not make an object less ready is told apart.
    let both = |kind| (conditions::find(before, kind), conditions::find(after, kind));
    if let (former, Some(degraded)) = both(ConditionType::Degraded)
        && former.is_none_or(|former| former.reason != degraded.reason)
    {
        tell(EventKind::Warning, degraded, "Judge");
    }
    if let (former, Some(credentials)) = both(ConditionType::CredentialsReady)
        && credentials.reason == Reason::Rotating.as_str()
        && former.is_none_or(|former| former.message != credentials.message)
    {
        tell(EventKind::Normal, credentials, "Rotate");
    }
    events
}

fn is_true(condition: &Condition) -> bool {
    condition.status == ConditionStatus::True.as_str()
}
