//! Generated Secrets of a round: keys of realms, client secrets and their bookkeeping, Secrets beside the Clients.

use oidc::Timestamp;
use serde_json::Value;

use super::{FAILED, Outcome, Round};
use crate::apply::{ApplyError, Fenced};
use crate::build;
use crate::log::chain;
use crate::resolve::{MissingKeys, Resolution};
use crate::status::{Event, Live, Subject};
use crate::world::{ObjectId, ObjectKey, SecretObject, World};

impl Round {
    /// Generates what is missing, into Secrets that only the operator reads. Whether anything was written: the world is
    /// another one then.
    pub(super) async fn generate(
        &mut self,
        world: &World,
        resolution: &Resolution,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<bool, Fenced> {
        let mut is_changed = false;
        for missing in &resolution.missing_keys {
            let Some(secret) = new_keys(world, missing, now).await else {
                outcome.again(FAILED);
                continue;
            };
            tracing::info!(realm = %missing.realm, secret = %missing.secret, keys = missing.keys.len(), "keys generated");
            is_changed |= self.keep(world, &missing.secret, &secret, outcome).await?;
        }
        for missing in &resolution.missing_client_secrets {
            let secret = build::client::new_secret(missing, now);
            tracing::info!(client = %missing.client, "client secret generated");
            is_changed |= self.keep(world, &missing.secret, &secret, outcome).await?;
        }
        for (key, ledger) in &resolution.ledgers {
            is_changed |= self.keep(world, key, ledger, outcome).await?;
        }
        for key in &resolution.spent {
            let dropped = self.applier.drop_secret(world, key).await;
            dropped.or_else(|error| refused(&error, key, outcome))?;
        }
        Ok(is_changed)
    }

    async fn keep(
        &self,
        world: &World,
        key: &ObjectKey,
        secret: &SecretObject,
        outcome: &mut Outcome,
    ) -> Result<bool, Fenced> {
        match self.applier.keep_secret(world, key, secret).await {
            Ok(written) => {
                self.note(written);
                Ok(true)
            }
            Err(error) => refused(&error, key, outcome).map(|()| false),
        }
    }

    /// The cache holds what was written, ahead of the watch.
    pub(super) fn note(&self, written: Value) {
        if let Ok(object) = serde_json::from_value(written) {
            self.cache.note_secret(object);
        }
    }

    /// Makes the Secrets beside the Clients as they should be.
    pub(super) async fn credentials(
        &mut self,
        world: &World,
        resolution: &Resolution,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), Fenced> {
        for (client, applied) in self.applier.credentials(world, resolution).await? {
            let id = ObjectId {
                kind: crds::Kind::Client,
                key: client,
            };
            let Some(live) = Live::find(world, &id) else { continue };
            let subject = Subject {
                uid: live.uid().to_owned(),
                id,
            };
            for change in &applied.changes {
                if let Some(event) = Event::of_change(subject.clone(), change, now) {
                    self.events.tell(&event).await?;
                }
            }
            for (child, failure) in &applied.failures {
                tracing::warn!(client = %subject.id.key, %child, ?failure, "not as it should be");
                self.note_foreign(child, failure);
            }
            if let Some(after) = applied.retry_after {
                outcome.again(after);
            }
        }
        Ok(())
    }
}

/// RSA keys take up to a second, which others need not wait for.
async fn new_keys(world: &World, missing: &MissingKeys, now: Timestamp) -> Option<SecretObject> {
    let present = world.secrets.get(&missing.secret).cloned();
    let wanted = missing.clone();
    let made = tokio::task::spawn_blocking(move || build::realm::new_keys(&wanted, present.as_deref(), now));
    match made.await {
        Ok(Ok(secret)) => Some(secret),
        Ok(Err(error)) => {
            tracing::error!(realm = %missing.realm, error = chain(&error), "keys cannot be generated");
            None
        }
        Err(error) => {
            tracing::error!(realm = %missing.realm, %error, "keys cannot be generated");
            None
        }
    }
}

/// A write that was refused keeps nothing else from being written.
fn refused(error: &ApplyError, key: &ObjectKey, outcome: &mut Outcome) -> Result<(), Fenced> {
    if let ApplyError::Fenced(fenced) = error {
        return Err(*fenced);
    }
    tracing::warn!(secret = %key, error = chain(error), "a generated Secret cannot be written");
    outcome.again(FAILED);
    Ok(())
}
