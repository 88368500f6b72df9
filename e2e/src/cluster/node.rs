//! The node: containerd, the kubelet and kube-proxy, with everything they keep below one folder and
//! their pods below one cgroup.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::part::Part;
use super::pki::Pki;
use super::site::Site;
use crate::parts::program;

/// The addresses of pods, the same in every cluster: nobody outside the namespace sees them.
const PODS: &str = "10.244.0.0/24";

/// The address of the cluster's DNS server.
pub(super) const DNS: &str = "10.96.0.10";

/// Starts containerd and waits until it answers.
pub(super) fn start_containerd(site: &Site) -> Result<Part> {
    write_network_plugins(site)?;
    let configuration = site.folder.join("containerd.toml");
    fs::write(&configuration, containerd_configuration(site)?)?;
    let arguments = vec![format!("--config={}", configuration.display())];
    let part = site.start("containerd", &program("NAUTHERA_CONTAINERD")?, arguments)?;
    wait_for_containerd(site, &part)?;
    Ok(part)
}

/// The kubelet ends when it finds nobody there, so it starts after this.
pub(super) fn wait_for_containerd(site: &Site, part: &Part) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while ctr(site, &["version"]).is_err() {
        part.expect_running()?;
        ensure!(
            Instant::now() < deadline,
            "containerd does not answer:\n{}",
            part.output()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Starts the kubelet until it stays: it ends when containerd answers but its part for Kubernetes does not yet.
pub(super) fn start_kubelet_again(kubelet: &mut Part) -> Result<()> {
    const SETTLED: Duration = Duration::from_secs(3);
    for _ in 0..10 {
        kubelet.start_again()?;
        let began = Instant::now();
        while kubelet.runs() {
            if began.elapsed() > SETTLED {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    bail!("the kubelet does not stay:\n{}", kubelet.output())
}

/// Loads the images of an OCI archive into the node.
pub(super) fn load_image(site: &Site, archive: &Path) -> Result<()> {
    ctr(
        site,
        &[
            "--namespace",
            "k8s.io",
            "images",
            "import",
            &archive.display().to_string(),
        ],
    )
    .with_context(|| format!("loading {}", archive.display()))
}

fn ctr(site: &Site, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program("NAUTHERA_CTR")?)
        .arg("--address")
        .arg(socket(site))
        .args(arguments)
        .output()?;
    if !output.status.success() {
        bail!("ctr: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// containerd's socket.
pub(super) fn socket(site: &Site) -> PathBuf {
    site.folder.join("containerd.sock")
}

fn containerd_configuration(site: &Site) -> Result<String> {
    let runc = which("runc")?;
    let path = |name: &str| site.path(name);
    Ok(format!(
        r#"version = 3
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{opt}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/pause:latest"

[plugins."io.containerd.cri.v1.runtime"]
# This machine may not raise anybody's chance to survive an out-of-memory kill.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
conf_dir = "{cni}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
Root = "{runc_root}"
SystemdCgroup = false
"#,
        root = path("containerd"),
        state = path("containerd-state"),
        socket = socket(site).display(),
        opt = path("containerd/opt"),
        cni = path("cni"),
        runc = runc.display(),
        runc_root = path("runc"),
    ))
}

/// Each pod hangs on a cable of its own, so that all traffic is routed: pods on one bridge would
/// answer each other directly, past the place where Service addresses are put back.
fn write_network_plugins(site: &Site) -> Result<()> {
    let folder = site.folder.join("cni");
    fs::create_dir_all(&folder)?;
    let list = json!({
        "cniVersion": "1.0.0",
        "name": super::site::namespace(&site.name),
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": site.path("cni-addresses"),
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
        ],
    });
    fs::write(folder.join("10-pods.conflist"), list.to_string())?;
    Ok(())
}

/// Names the cluster's DNS server, for pods that ask for the node's and for programs that need names of the cluster.
pub(super) fn write_resolver(site: &Site) -> Result<()> {
    Ok(fs::write(site.resolver(), format!("nameserver {DNS}\n"))?)
}

/// Starts the kubelet. The cgroup of its pods must be there (`cgroups::create`).
pub(super) fn start_kubelet(site: &Site, pki: &Pki, kubeconfig: &str) -> Result<Part> {
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": site.address,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.certificate("ca")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.certificate("kubelet-server"),
        "tlsPrivateKeyFile": pki.key("kubelet-server"),
        "containerRuntimeEndpoint": format!("unix://{}", socket(site).display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", site.cgroup()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "localStorageCapacityIsolation": false,
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS],
        "resolvConf": site.resolver(),
        "podLogsDir": site.path("pod-logs"),
        "volumePluginDir": site.path("volume-plugins"),
        "maxPods": 200,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        // How long a changed Secret may take to be in the files of its pods; a minute otherwise.
        "syncFrequency": "10s",
    });
    let file = site.folder.join("kubelet.json");
    fs::write(&file, configuration.to_string())?;
    let arguments = vec![
        format!("--config={}", file.display()),
        format!("--kubeconfig={kubeconfig}"),
        format!("--root-dir={}", site.path("kubelet")),
        format!("--cert-dir={}", site.path("kubelet-certificates")),
        format!("--node-ip={}", site.address),
        "--hostname-override=n1".to_owned(),
        "--v=1".to_owned(),
    ];
    site.start("kubelet", &program("NAUTHERA_KUBELET")?, arguments)
}

pub(super) fn start_kube_proxy(site: &Site, kubeconfig: &str) -> Result<Part> {
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": PODS,
        "hostnameOverride": "n1",
        "conntrack": {"maxPerCore": 0},
        "nftables": {"minSyncPeriod": "100ms"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    });
    let file = site.folder.join("kube-proxy.json");
    fs::write(&file, configuration.to_string())?;
    let arguments = vec![format!("--config={}", file.display())];
    site.start("kube-proxy", &program("NAUTHERA_KUBE_PROXY")?, arguments)
}

/// A program of the machine, also from where only root looks.
fn which(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is missing: run `e2e/tools/install cluster`"))
}
