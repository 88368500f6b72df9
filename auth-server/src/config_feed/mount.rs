//! The configuration as files: a mounted volume, or a folder that an operator writes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{Artefact, ArtefactError, Head, MANIFEST_BYTES, MANIFEST_FILE, Manifest, SHARD_BYTES, shard_file};

use super::ConfigFeed;

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

/// The configuration in `folder`, unless it is not newer than `held`.
pub(super) fn read(folder: &Path, held: Option<Head>) -> Result<Option<Artefact>, MountError> {
    let manifest_bytes = read_file(folder, MANIFEST_FILE, MANIFEST_BYTES)?;
    let manifest = Manifest::decode(&manifest_bytes).map_err(ArtefactError::from)?;
    if held.is_some_and(|held| manifest.head <= held) {
        return Ok(None);
    }
    let mut files = BTreeMap::from([(MANIFEST_FILE.to_owned(), manifest_bytes)]);
    for (&number, &hash) in &manifest.shards {
        let name = shard_file(number, hash);
        match read_file(folder, &name, SHARD_BYTES) {
            Ok(bytes) => {
                files.insert(name, bytes);
            }
            // Named as what it is: a shard that is missing.
            Err(MountError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Artefact::from_files(&files)?))
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
