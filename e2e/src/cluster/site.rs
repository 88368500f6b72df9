//! Where a cluster is: its folder, its address, and the network namespace it lives in. Written into
//! the folder first of all, so that whatever a killed run left behind can be found.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::part::{Part, Recorded};
use crate::parts::free_port;

/// How much of a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// etcd and the API server, on loopback; no root needed.
    ControlPlane,
    /// The same with all controllers: garbage collection, ServiceAccounts, Deployments (without pods).
    Controllers,
    /// A whole cluster with one node, DNS and an ingress controller, in a network namespace.
    Node,
}

/// Where a cluster is. Serialized as `cluster.json` in its folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) folder: PathBuf,
    /// The address of the API server and, in a whole cluster, of the node and its ingress.
    pub(super) address: String,
    pub(super) api_port: u16,
    pub(super) etcd_port: u16,
    pub(super) etcd_peer_port: u16,
    /// The process whose end is the end of the cluster; none for one that stays.
    pub(super) owner: Option<Recorded>,
}

impl Site {
    /// A site on loopback with ports of its own.
    pub(super) fn loopback(name: &str, mode: Mode, owner: Option<Recorded>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            mode,
            folder: root()?.join(name),
            address: "127.0.0.1".to_owned(),
            api_port: free_port()?,
            etcd_port: free_port()?,
            etcd_peer_port: free_port()?,
            owner,
        })
    }

    /// A site in a network namespace, whose node has this address.
    pub(super) fn namespaced(name: &str, address: String, owner: Option<Recorded>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            mode: Mode::Node,
            folder: root()?.join(name),
            address,
            api_port: 6443,
            etcd_port: 2379,
            etcd_peer_port: 2380,
            owner,
        })
    }

    /// Writes it into its folder, which comes into being by that.
    pub(super) fn record(&self) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        fs::write(self.folder.join("cluster.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// What is recorded in a folder.
    pub(super) fn recorded(folder: &Path) -> Result<Self> {
        let text = fs::read(folder.join("cluster.json"))?;
        serde_json::from_slice(&text).with_context(|| folder.display().to_string())
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The network namespace of a whole cluster.
    pub(super) fn namespace(&self) -> Option<String> {
        (self.mode == Mode::Node).then(|| namespace(&self.name))
    }

    /// The path inside each cgroup hierarchy below which its pods are.
    pub(super) fn cgroup(&self) -> String {
        cgroup(&self.name)
    }

    /// A command line that runs inside the cluster's network namespace.
    pub(super) fn inside(&self, program: &Path) -> Vec<OsString> {
        let Some(namespace) = self.namespace() else {
            return vec![program.into()];
        };
        // `ip netns exec` would remount /sys and hide the cgroup hierarchies from the kubelet.
        vec![
            "nsenter".into(),
            format!("--net=/var/run/netns/{namespace}").into(),
            program.into(),
        ]
    }

    /// The same with the cluster's DNS. Nothing that mounts for pods may run so: its mounts are its own.
    pub(super) fn inside_with_names(&self, program: &Path) -> Vec<OsString> {
        const SCRIPT: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;
        if self.namespace().is_none() {
            return vec![program.into()];
        }
        let mut line = self.inside(Path::new("unshare"));
        line.extend(["--mount", "--propagation=private", "sh", "-c", SCRIPT].map(OsString::from));
        line.extend([self.resolver().into_os_string(), program.into()]);
        line
    }

    /// The file that names the cluster's DNS server, and no other.
    pub(super) fn resolver(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    /// Starts a part with these arguments.
    pub(super) fn start(&self, name: &str, program: &Path, arguments: Vec<String>) -> Result<Part> {
        self.start_by(name, self.inside(program), arguments)
    }

    /// Starts a part by a command line that takes these arguments at its end.
    pub(super) fn start_by(&self, name: &str, mut command: Vec<OsString>, arguments: Vec<String>) -> Result<Part> {
        command.extend(arguments.into_iter().map(OsString::from));
        Part::start(&self.folder, name, command)
    }
}

/// The folder that holds the folders of all clusters.
pub(super) fn root() -> Result<PathBuf> {
    let cache = std::env::var_os("NAUTHERA_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/nauthera"));
    let cache = cache.or_else(home).context("neither NAUTHERA_CACHE nor HOME is set")?;
    Ok(cache.join("cluster"))
}

/// A name is part of paths, of a network namespace and of sockets, whose paths must be short.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.len() <= 24 && name.chars().all(plain),
        "the name of a cluster is made of at most 24 lower-case letters, digits and hyphens, unlike {name:?}"
    );
    Ok(())
}

pub(super) fn namespace(name: &str) -> String {
    format!("nauthera-{name}")
}

pub(super) fn cgroup(name: &str) -> String {
    format!("nauthera/{name}")
}

/// Runs a command to its end and returns what it printed; fails with what it complained about.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
