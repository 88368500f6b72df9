//! How one Secret of a delivery is written; a name that somebody else holds is left alone for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Delivery, DeliveryError};
use crate::apply::Applier;
use crate::apply::secret::WriteError;
use crate::build::artefact::SecretWrite;
use crate::world::ObjectKey;

/// How long a name that is held by somebody else's Secret is left alone before it is tried again.
const FOREIGN_PAUSE: Duration = Duration::from_mins(1);

impl Delivery {
    pub(super) async fn put_all(&mut self, applier: &Applier, writes: Vec<SecretWrite>) -> Result<(), DeliveryError> {
        for write in writes {
            self.put(applier, write).await?;
        }
        Ok(())
    }

    pub(super) async fn put(&mut self, applier: &Applier, write: SecretWrite) -> Result<(), DeliveryError> {
        let key = write.key.clone();
        if paused(&self.foreign, &key).is_some() {
            return Err(DeliveryError::Foreign(key));
        }
        match applier.put_secret(&write).await {
            Ok(version) => {
                self.foreign.remove(&key);
                self.secrets.wrote(write, version);
                Ok(())
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
