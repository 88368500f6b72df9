//! One of our images as `make images` packed it, unpacked as a container engine would.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::parts::checkout;

/// An image, unpacked into a folder that goes with it.
#[derive(Debug)]
pub struct Image {
    /// What the image says about how it is run.
    pub config: Value,
    root: TempDir,
}

impl Image {
    /// Unpacks the archive of this image: `operator` or `auth`.
    pub fn open(name: &str) -> Result<Self> {
        let archive = checkout().join(format!("target/images/nauthera-{name}.tar"));
        ensure!(archive.is_file(), "{} is missing: run `make images`", archive.display());
        let layout = tempfile::tempdir()?;
        let root = tempfile::tempdir()?;
        untar(&archive, layout.path(), "")?;
        let index = read(&layout.path().join("index.json"))?;
        let manifest = read(&blob(layout.path(), &index, "/manifests/0")?)?;
        ensure!(manifest.pointer("/layers/1").is_none(), "{name} has several layers");
        untar(&blob(layout.path(), &manifest, "/layers/0")?, root.path(), "z")?;
        let config = read(&blob(layout.path(), &manifest, "/config")?)?;
        Ok(Self { config, root })
    }

    /// The environment that it gives to its program.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.config.pointer("/config/Env").and_then(Value::as_array);
        let variables = variables.into_iter().flatten().filter_map(Value::as_str);
        variables.filter_map(|variable| variable.split_once('='))
    }

    /// The root of its file system.
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

fn untar(archive: &Path, folder: &Path, compression: &str) -> Result<()> {
    let status = Command::new("tar")
        .arg(format!("-x{compression}f"))
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .status()?;
    ensure!(status.success(), "tar cannot read {}", archive.display());
    Ok(())
}

/// The file that a descriptor of this document names.
fn blob(layout: &Path, document: &Value, descriptor: &str) -> Result<PathBuf> {
    let digest = document
        .pointer(&format!("{descriptor}/digest"))
        .and_then(Value::as_str);
    let digest = digest.with_context(|| format!("no digest in {descriptor}"))?;
    Ok(layout.join("blobs").join(digest.replace(':', "/")))
}

fn read(file: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}
