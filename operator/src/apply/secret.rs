//! Secrets whose content was computed from what was there: created, or replaced at exactly that version.
//!
//! Never by server-side apply, which would create a Secret that somebody has just deleted, or overwrite one that somebody
//! has just written.

use serde_json::Value;

use crate::build::artefact::SecretWrite;
use crate::build::{MANAGED_BY, text};

use super::{Applier, ApplyError};
use crate::world::ChildKind;

/// A Secret that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// One of that name exists that is not ours.
    #[error("it belongs to somebody else")]
    Foreign,
    /// The call failed.
    #[error(transparent)]
    Call(#[from] ApplyError),
}

impl WriteError {
    /// Whether what it was computed from is not there any more: the watch will show what is.
    pub fn is_outdated(&self) -> bool {
        let outdated = |error: &ApplyError| {
            matches!(
                error,
                ApplyError::Conflict(_) | ApplyError::AlreadyExists(_) | ApplyError::NotFound(_)
            )
        };
        matches!(self, Self::Call(error) if outdated(error))
    }
}

impl Applier {
    /// Creates the Secret, or replaces the version that it was computed from. The Secret as it is then.
    pub async fn put_secret(&self, write: &SecretWrite) -> Result<Value, WriteError> {
        let written = match &write.replaces {
            Some(_) => self.replace(&write.id(), &write.object()).await,
            None => {
                self.create(ChildKind::Secret, &write.key.namespace, &write.object())
                    .await
            }
        };
        match written {
            Ok(object) => Ok(object),
            // Ours, which the watch does not show yet, or somebody else's, which it never will.
            Err(ApplyError::AlreadyExists(message)) => match self.get(&write.id()).await? {
                Some(object) if text(&object, &["metadata", "labels", MANAGED_BY.0]) != Some(MANAGED_BY.1) => {
                    Err(WriteError::Foreign)
                }
                _ => Err(ApplyError::AlreadyExists(message).into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}
