//! Removes every trace of a cluster, of a running one as of one whose start was killed half-way.
//! It needs no more than the name: what cannot be read is looked for.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::part::{Part, Recorded};
use super::site::{Site, cgroup, root, run};
use super::{cgroups, network};

/// First what starts others, last what everything else hangs on; the guard, before all, is not named.
const ORDER: &[&str] = &[
    "cert-manager",
    "kubelet",
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
    "containerd",
    "kube-apiserver",
    "etcd",
];

/// Held while clusters are made or removed, which must not happen twice at a time.
pub(super) fn lock() -> Result<File> {
    let root = root()?;
    fs::create_dir_all(&root)?;
    let file = File::create(root.join(".lock"))?;
    file.lock()?;
    Ok(file)
}

/// Removes the clusters whose owner is gone. Called with the lock held.
pub(super) fn remove_abandoned() -> Result<()> {
    for name in names()? {
        let Ok(site) = Site::recorded(&root()?.join(&name)) else {
            continue;
        };
        if site.owner.is_some_and(|owner| !owner.runs()) {
            remove(&name)?;
        }
    }
    Ok(())
}

/// The names of all clusters that are here.
pub(super) fn names() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(root()?) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Removes one, or what is left of one. Called with the lock held.
pub(super) fn remove(name: &str) -> Result<()> {
    let folder = root()?.join(name);
    kill_parts(&folder)?;
    kill_shims(&folder)?;
    cgroups::remove(&cgroup(name))?;
    kill_inhabitants(name)?;
    let sockets = shim_sockets(&folder);
    unmount_below(&folder)?;
    network::down(name)?;
    for file in sockets {
        // A shim that ended by itself has removed it.
        let _ = fs::remove_file(file);
    }
    remove_outside_traces(&folder);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

fn kill_parts(folder: &Path) -> Result<()> {
    let mut parts = Part::all(folder);
    parts.sort_by_key(|part| ORDER.iter().position(|name| *name == part.name()));
    // The guard of the cluster may be who removes it.
    let own = std::process::id();
    parts.iter().filter(|part| part.id() != own).try_for_each(Part::kill)
}

/// Shims outlive containerd by design. They are known by the socket that they were given.
fn kill_shims(folder: &Path) -> Result<()> {
    let socket = folder.join("containerd.sock").display().to_string();
    for process in processes()? {
        let command = fs::read(format!("/proc/{}/cmdline", process.id)).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        let is_shim = words
            .next()
            .is_some_and(|program| program.ends_with(b"containerd-shim-runc-v2"));
        if is_shim && words.any(|word| word == socket.as_bytes()) {
            process.signal(Signal::KILL)?;
        }
    }
    Ok(())
}

fn processes() -> Result<Vec<Recorded>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Recorded::of(id).ok())
        .collect())
}

/// What else runs in the cluster's network: a browser, a program under test.
fn kill_inhabitants(name: &str) -> Result<()> {
    for id in network::processes(name)? {
        if id == std::process::id() {
            continue;
        }
        if let Ok(process) = Recorded::of(id) {
            process.signal(Signal::KILL)?;
            if !process.gone_within(Duration::from_secs(10)) {
                bail!("process {id} in the network of cluster {name} cannot be killed");
            }
        }
    }
    Ok(())
}

/// Shims listen outside the folder, because the paths of sockets must be short.
fn shim_sockets(folder: &Path) -> Vec<PathBuf> {
    let tasks = folder.join("containerd-state/io.containerd.runtime.v2.task/k8s.io");
    let Ok(entries) = fs::read_dir(tasks) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let text = fs::read(entry.ok()?.path().join("bootstrap.json")).ok()?;
            let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
            let address = value.get("address")?.as_str()?;
            Some(PathBuf::from(address.strip_prefix("unix://")?))
        })
        .collect()
}

/// The innermost first.
fn unmount_below(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut below: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|mounted| Path::new(mounted).starts_with(folder))
        .collect();
    below.reverse();
    for mounted in below {
        run("umount", &["--lazy", mounted])?;
    }
    Ok(())
}

/// What the kubelet and the network plug-ins put into places that cannot be configured. Only litter:
/// what cannot be removed must not keep the rest from it.
fn remove_outside_traces(folder: &Path) {
    for link in entries("/var/log/containers") {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(folder)) {
            let _ = fs::remove_file(&link);
        }
    }
    // Results name the network namespace of their pod, which was below the folder.
    let inside = format!("\"{}/", folder.display());
    for result in entries("/var/lib/cni/results") {
        if fs::read_to_string(&result).is_ok_and(|text| text.contains(&inside)) {
            let _ = fs::remove_file(&result);
        }
    }
    let socket = "/var/lib/kubelet/device-plugins/kubelet.sock";
    if UnixStream::connect(socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        let _ = fs::remove_file(socket);
    }
    // As far as nothing is left in them.
    for place in ["/var/lib/kubelet/device-plugins", "/var/lib/kubelet"] {
        let _ = fs::remove_dir(place);
    }
}

fn entries(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}
