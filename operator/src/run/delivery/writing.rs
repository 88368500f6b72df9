//! How one Secret of a delivery is written; a name that somebody else holds is left alone for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Delivery, DeliveryError};
use crate::apply::Applier;
use crate::apply::secret::WriteError;
use crate::build::artefact::SecretWrite;
use crate::build::text;
use crate::world::ObjectKey;

/// How long a name that is held by somebody else's Secret is left alone before it is tried again.
const FOREIGN_PAUSE: Duration = Duration::from_mins(1);

impl Delivery {
    /// The Secrets as they are then.
    pub(super) async fn put_all(
        &mut self,
        applier: &Applier,
        writes: Vec<SecretWrite>,
    ) -> Result<Vec<Value>, DeliveryError> {
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            written.push(self.put(applier, write).await?);
        }
        Ok(written)
    }

    pub(super) async fn put(&mut self, applier: &Applier, write: SecretWrite) -> Result<Value, DeliveryError> {
        let key = write.key.clone();
        if paused(&self.foreign, &key).is_some() {
            return Err(DeliveryError::Foreign(key));
        }
        match applier.put_secret(&write).await {
            Ok(written) => {
                self.foreign.remove(&key);
                let version = text(&written, &["metadata", "resourceVersion"]).unwrap_or_default();
                self.secrets.wrote(write, version.to_owned());
                Ok(written)
            }
            Err(WriteError::Foreign) => {
                self.foreign.insert(key.clone(), Instant::now());
                Err(DeliveryError::Foreign(key))
            }
            Err(source) => Err(DeliveryError::Write { key, source }),
        }
    }
}

/// How long a name is still left alone.
pub(super) fn paused(foreign: &BTreeMap<ObjectKey, Instant>, key: &ObjectKey) -> Option<Duration> {
    let left = FOREIGN_PAUSE.checked_sub(foreign.get(key)?.elapsed());
    left.filter(|left| !left.is_zero())
}
