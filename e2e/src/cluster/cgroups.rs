//! The cgroup below which a cluster's pods live, in every hierarchy of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::part::Recorded;

/// Creates `path` in every hierarchy that has controllers.
pub(super) fn create(path: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut folder = hierarchy;
        for step in path.split('/') {
            let parent = folder.clone();
            folder.push(step);
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            // A new cpuset is empty, and nothing can run in it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(parent.join(file))
                    && fs::read_to_string(folder.join(file)).is_ok_and(|old| old.trim().is_empty())
                {
                    fs::write(folder.join(file), value.trim())?;
                }
            }
            // In the unified hierarchy a parent hands its controllers down explicitly.
            if let Ok(controllers) = fs::read_to_string(parent.join("cgroup.controllers")) {
                for controller in controllers.split_whitespace() {
                    // A controller that cannot be handed down is one that pods do without.
                    let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
                }
            }
        }
    }
    Ok(())
}

/// Kills every process below `path` and removes the cgroups.
pub(super) fn remove(path: &str) -> Result<()> {
    let folders: Vec<PathBuf> = hierarchies()?
        .into_iter()
        .map(|hierarchy| hierarchy.join(path))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut left = false;
        for folder in folders.iter().filter(|folder| folder.exists()) {
            for id in processes(folder) {
                if let Ok(process) = Recorded::of(id) {
                    process.signal(Signal::KILL)?;
                }
            }
            left |= remove_empty(folder).is_err();
        }
        if !left || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for folder in &folders {
        remove_empty(folder).with_context(|| folder.display().to_string())?;
        if let Some(parent) = folder.parent() {
            // Stays while another cluster is in it.
            let _ = fs::remove_dir(parent);
        }
    }
    Ok(())
}

/// Every process below a cgroup, at any depth.
fn processes(folder: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(folder.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|id| id.parse().ok())
        .collect();
    for child in children(folder) {
        found.extend(processes(&child));
    }
    found
}

/// Removes the deepest first. Fails while a process is in one of them.
fn remove_empty(folder: &Path) -> std::io::Result<()> {
    for child in children(folder) {
        remove_empty(&child)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Where the hierarchies are mounted.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (folder, kind) = (fields.next()?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(folder))
        })
        .collect())
}
