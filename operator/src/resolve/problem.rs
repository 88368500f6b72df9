//! What is wrong with one object: the field, the reason, and what to do about it.

use crds::conditions::{ConditionType, Reason};

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The condition that it makes false: `Accepted`, `ResolvedRefs` or `CredentialsReady`.
    pub condition: ConditionType,
    /// Why.
    pub reason: Reason,
    /// Path of the field (`spec.redirectUris[2]`); empty when the whole object is meant.
    pub field: String,
    /// What is wrong, and the fix.
    pub message: String,
}

impl Problem {
    /// The spec contradicts itself or its surroundings.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ConditionType::Accepted, Reason::Invalid, field, message)
    }

    /// Another object does not admit this one.
    pub(crate) fn not_admitted(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ConditionType::Accepted, Reason::NotAdmitted, field, message)
    }

    /// Another object holds the same name.
    pub(crate) fn conflict(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ConditionType::Accepted, Reason::Conflict, field, message)
    }

    /// A referenced object is not there; whether the grace is over is decided later.
    pub(crate) fn missing(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ConditionType::ResolvedRefs, Reason::ReferenceNotFound, field, message)
    }

    /// A referenced object is there but of no use.
    pub(crate) fn unusable(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ConditionType::ResolvedRefs, Reason::ReferenceInvalid, field, message)
    }

    pub(crate) fn new(
        condition: ConditionType,
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            condition,
            reason,
            field: field.into(),
            message: message.into(),
        }
    }

    /// The field and the message as one sentence.
    pub fn sentence(&self) -> String {
        if self.field.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.field, self.message)
        }
    }
}
