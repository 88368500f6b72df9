//! Writing small sets of files so that a reader never sees half of one.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written", path.display())]
pub struct FolderError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Writes `files` into `folder` in the given order, each by renaming a finished file over the old one. Files are
/// readable by their owner only. What is already there with the same content is not touched.
pub fn write_folder(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), FolderError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FolderError { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, content) in files {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|present| present == *content) {
            continue;
        }
        let unfinished = folder.join(format!(".{name}.new"));
        write_private(&unfinished, content).map_err(failed(&unfinished))?;
        fs::rename(&unfinished, &path).map_err(failed(&path))?;
    }
    Ok(())
}

fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    // A file left by a killed process may have other permissions.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)
}
