//! The artefact as a folder of files: what `dev` keeps in place of Secrets, and what servers boot from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use snapshot::{Artefact, ArtefactError, MANIFEST_FILE, Manifest, shard_file};

use crate::pki::{FolderError, write_folder};

/// A folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactFolderError {
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] FolderError),
    /// Reading failed.
    #[error("configuration folder cannot be read")]
    Read(#[source] io::Error),
    /// The files are no artefact.
    #[error("configuration folder is not usable")]
    Unusable(#[from] ArtefactError),
}

/// Commits `artefact` to `folder`: shards first, the manifest last. Shards of the commit before stay, so that a reader
/// who has just read the former manifest finds its shards; older ones are removed.
pub fn write_artefact(folder: &Path, artefact: &Artefact) -> Result<(), ArtefactFolderError> {
    let former = fs::read(folder.join(MANIFEST_FILE))
        .ok()
        .and_then(|bytes| Manifest::decode(&bytes).ok());
    write_folder(folder, &artefact.to_files())?;
    let manifests = [Some(artefact.manifest()), former.as_ref()];
    let kept: Vec<String> = manifests.into_iter().flatten().flat_map(shard_files).collect();
    for entry in fs::read_dir(folder).map_err(ArtefactFolderError::Read)?.flatten() {
        let name = entry.file_name();
        if let Some(name) = name.to_str()
            && name.starts_with("shard-")
            && !kept.iter().any(|kept| kept == name)
        {
            // A file that stays is found again at the next commit.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn shard_files(manifest: &Manifest) -> impl Iterator<Item = String> {
    manifest.shards.iter().map(|(number, hash)| shard_file(*number, *hash))
}

/// The artefact that was committed to `folder`; `None` when none ever was.
pub fn read_artefact(folder: &Path) -> Result<Option<Artefact>, ArtefactFolderError> {
    let manifest_bytes = match fs::read(folder.join(MANIFEST_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ArtefactFolderError::Read(error)),
    };
    let manifest = Manifest::decode(&manifest_bytes).map_err(ArtefactError::from)?;
    let mut files = BTreeMap::from([(MANIFEST_FILE.to_owned(), manifest_bytes)]);
    for name in shard_files(&manifest) {
        if let Ok(bytes) = fs::read(folder.join(&name)) {
            files.insert(name, bytes);
        }
    }
    Ok(Some(Artefact::from_files(&files)?))
}
