//! The configuration as files: a mounted volume, or a folder that an operator writes.

use std::fs;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{ArtefactError, Hash, MANIFEST_BYTES, MANIFEST_FILE, Manifest, SHARD_BYTES, Shard, shard_file};

use super::ConfigFeed;
use super::update::Update;

/// How often the files are looked at while there is no configuration at all.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// Why the files are not a configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    /// A file cannot be read.
    #[error("configuration file {name} cannot be read")]
    Unreadable {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The files are incomplete, altered, or of different commits.
    #[error("configuration files are not usable")]
    Unusable(#[from] ArtefactError),
}

/// The manifest in `folder`.
pub(super) fn read_manifest(folder: &Path) -> Result<Manifest, MountError> {
    let bytes = read_file(folder, MANIFEST_FILE, MANIFEST_BYTES)?;
    Ok(Manifest::decode(&bytes).map_err(ArtefactError::from)?)
}

/// A shard in `folder` that a manifest names.
pub(super) fn read_shard(folder: &Path, number: u8, hash: Hash) -> Result<Shard, MountError> {
    let file = match read_file(folder, &shard_file(number, hash), SHARD_BYTES) {
        // Named as what it is: a shard that is missing.
        Err(MountError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(ArtefactError::MissingShard { number }.into());
        }
        file => file?,
    };
    Ok(Shard::verify(number, hash, &file)?)
}

/// What leads from the configuration that `feed` holds to the one in the files, unless that is not newer. Shards are read
/// one after the other, so that the files never lie in memory together.
pub(super) fn read(feed: &ConfigFeed) -> Result<Option<Update>, MountError> {
    let folder = &feed.settings.config_dir;
    let manifest = read_manifest(folder)?;
    if feed.held().head().is_some_and(|held| manifest.head <= held) {
        return Ok(None);
    }
    let shards = manifest.shards.clone();
    let mut update = Update::new(manifest, &feed.held());
    for (number, hash) in shards {
        update.add(read_shard(folder, number, hash)?, &mut feed.held());
    }
    Ok(Some(update))
}

/// Reads one byte more than allowed at most, so that the check of the size sees an excess.
fn read_file(folder: &Path, name: &str, longest: usize) -> Result<Vec<u8>, MountError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(folder.join(name)).and_then(|file| file.take(longest as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(source) => Err(MountError::Unreadable {
            name: name.to_owned(),
            source,
        }),
    }
}

/// Looks at the files again and again while no operator is connected.
pub(super) async fn follow(feed: Arc<ConfigFeed>) {
    loop {
        let is_empty = feed.status.borrow().head.is_none();
        let pause = if is_empty {
            IMPATIENCE.min(feed.settings.reread)
        } else {
            feed.settings.reread
        };
        tokio::time::sleep(pause).await;
        if feed.status.borrow().connected == 0 {
            feed.read_mount().await;
        }
    }
}
