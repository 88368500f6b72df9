//! Which realms are gone, as the files say: on this word people are deleted, so it has to be beyond doubt.
//!
//! Streams carry what is served, not what was. So the files are read again whenever somebody asks: what was remembered
//! from the start would be the word of an old mount. A mounted volume lags behind a stream for a minute or two, and then
//! nothing is said. Nor is anything said while no operator agrees that what is served is the newest, for it may be that
//! the realm is back and this server has not heard of it; where no operator is configured, the files are all there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oidc::id::RealmId;
use snapshot::{ArtefactError, Hash, Manifest, ResourceId, ServerVersion, Tombstone, Trust};

use super::mount::{self, MountError};
use super::{ConfigFeed, Handle, Status};

/// The realms that are gone, and the manifest that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The manifest of the files.
    pub manifest: Manifest,
    /// The realms of which nothing is served any more.
    pub tombstones: BTreeMap<RealmId, Tombstone>,
}

impl Handle {
    /// The realms that are gone. `None` while the files are not what is served, or that may not be the newest.
    pub async fn gone(&self) -> Option<Gone> {
        self.read(ConfigFeed::gone).await
    }

    /// Whether that is still so, word for word.
    pub async fn is_still_gone(&self, gone: &Gone) -> bool {
        self.read(ConfigFeed::newest_manifest).await.as_ref() == Some(&gone.manifest)
    }

    /// What `read` finds in the files. Files that cannot be read say nothing.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ConfigFeed) -> Result<Option<T>, MountError> + Send + 'static,
    ) -> Option<T> {
        let feed = Arc::clone(&self.feed);
        let found = tokio::task::spawn_blocking(move || read(&feed)).await.ok()?;
        found
            .inspect_err(|error| tracing::debug!(%error, "the files do not say which realms are gone"))
            .ok()?
    }
}

impl ConfigFeed {
    fn gone(&self) -> Result<Option<Gone>, MountError> {
        let Some(manifest) = self.newest_manifest()? else {
            return Ok(None);
        };
        let mut there: BTreeMap<ResourceId, Hash> = BTreeMap::new();
        let mut tombstones = BTreeMap::new();
        for (number, hash) in &manifest.shards {
            let shard = mount::read_shard(&self.settings.config_dir, *number, *hash)?;
            let entries = shard.entries.into_iter();
            there.extend(entries.map(|(id, entry)| (id, entry.current.version())));
            tombstones.extend(shard.tombstones);
        }
        if Manifest::content_of(there.iter().map(|(id, version)| (id, *version))) != manifest.content {
            return Err(ArtefactError::WrongContent.into());
        }
        let there: BTreeSet<RealmId> = there.keys().map(ResourceId::realm).collect();
        tombstones.retain(|realm, _| !there.contains(realm));
        Ok(Some(Gone { manifest, tombstones }))
    }

    /// The manifest of the files, when it is of what is served and nothing newer is known.
    fn newest_manifest(&self) -> Result<Option<Manifest>, MountError> {
        let manifest = mount::read_manifest(&self.settings.config_dir)?;
        let held = self.held().position();
        let trust = Trust {
            fleet: &self.settings.fleet,
            server: ServerVersion::current(),
            held,
        };
        let is_served = manifest.check(&trust).is_ok() && held == Some((manifest.head, manifest.content));
        let is_newest = is_newest(&self.status.borrow(), &self.settings.operator_addresses);
        Ok((is_served && is_newest).then_some(manifest))
    }
}

/// Whether what is served is the newest configuration, as far as those know who have to know.
fn is_newest(status: &Status, operators: &[String]) -> bool {
    let is_agreed = operators.is_empty() || status.agreeing > 0;
    is_agreed && status.head_lag() == 0 && status.problem.is_none()
}

#[cfg(test)]
mod tests {
    use snapshot::Head;

    use super::*;

    const HEAD: Head = Head {
        epoch: 1_800_000_000,
        generation: 7,
    };
    const NEWER: Head = Head { generation: 8, ..HEAD };
    const REOPENED: Head = Head {
        epoch: HEAD.epoch + 1,
        generation: 1,
    };

    #[test]
    fn what_is_served_is_the_newest_only_beyond_doubt() {
        let good = Status {
            head: Some(HEAD),
            known: Some(HEAD),
            connected: 1,
            agreeing: 1,
            ..Status::default()
        };
        let with = |change: fn(&mut Status)| {
            let mut status = good.clone();
            change(&mut status);
            status
        };
        let alone: &[String] = &[];
        let operator: &[String] = &["operator.example:8443".to_owned()];
        for (case, status, operators, expected) in [
            ("an operator agrees", good.clone(), operator, true),
            ("nobody to ask", with(|status| status.agreeing = 0), alone, true),
            ("none has said so", with(|status| status.agreeing = 0), operator, false),
            (
                "a newer one is known",
                with(|status| status.known = Some(NEWER)),
                operator,
                false,
            ),
            (
                "another history",
                with(|status| status.known = Some(REOPENED)),
                alone,
                false,
            ),
            (
                "one was refused",
                with(|status| status.problem = Some(String::new())),
                operator,
                false,
            ),
        ] {
            assert_eq!(is_newest(&status, operators), expected, "{case}");
        }
    }
}
