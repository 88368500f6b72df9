//! What a cluster can leave on the machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use e2e::cluster::Cluster;

/// What to look for once a cluster is gone.
pub(super) struct Traces {
    name: String,
    folder: PathBuf,
    /// The sockets of shims that were there before, of whomever.
    sockets: Vec<PathBuf>,
}

impl Traces {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let folder = cluster.folder().to_owned();
        let sockets = shim_sockets(&folder);
        Self {
            name: cluster.name().to_owned(),
            folder,
            sockets,
        }
    }

    /// Everything that is still there, in words.
    pub(super) fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        let folder = self.folder.display().to_string();
        for id in processes()? {
            let of = |file: &str| fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            if String::from_utf8_lossy(&of("status")).contains("State:\tZ") {
                // Dead; whether it is waited for is the business of the machine's first process.
                continue;
            }
            let command = String::from_utf8_lossy(&of("cmdline")).replace('\0', " ");
            let cgroup = String::from_utf8_lossy(&of("cgroup")).into_owned();
            let guards = command.contains("nauthera-cluster guard") && command.contains(&self.name);
            if command.contains(&folder) || guards || cgroup.contains(&format!("/nauthera/{}/", self.name)) {
                left.push(format!("process {id}: {command}"));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&self.name))
                .map(|line| format!("mount {line}")),
        );
        let namespace = PathBuf::from(format!("/var/run/netns/nauthera-{}", self.name));
        left.extend(
            [&self.folder, &namespace]
                .into_iter()
                .filter(|path| path.exists())
                .map(|path| path.display().to_string()),
        );
        for hierarchy in entries("/sys/fs/cgroup") {
            let cgroup = hierarchy.join("nauthera").join(&self.name);
            if cgroup.exists() {
                left.push(cgroup.display().to_string());
            }
        }
        for link in entries("/sys/class/net") {
            let alias = fs::read_to_string(link.join("ifalias")).unwrap_or_default();
            if alias.trim() == format!("nauthera-{}", self.name) {
                left.push(link.display().to_string());
            }
        }
        left.extend(
            self.sockets
                .iter()
                .filter(|path| path.exists())
                .map(|path| path.display().to_string()),
        );
        for place in ["/var/log/containers", "/var/lib/cni/results"] {
            for path in entries(place) {
                let target = fs::read_link(&path).unwrap_or_default();
                let text = fs::read_to_string(&path).unwrap_or_default();
                if target.starts_with(&self.folder) || text.contains(&folder) {
                    left.push(path.display().to_string());
                }
            }
        }
        Ok(left)
    }
}

/// The sockets of the shims that serve a containerd below this folder.
fn shim_sockets(folder: &Path) -> Vec<PathBuf> {
    let tasks = folder.join("containerd-state/io.containerd.runtime.v2.task/k8s.io");
    entries(&tasks.display().to_string())
        .iter()
        .filter_map(|task| {
            let text = fs::read_to_string(task.join("bootstrap.json")).ok()?;
            let value: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(PathBuf::from(value.get("address")?.as_str()?.strip_prefix("unix://")?))
        })
        .collect()
}

fn entries(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

fn processes() -> Result<Vec<u32>> {
    Ok(fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| *id != std::process::id())
        .collect())
}
