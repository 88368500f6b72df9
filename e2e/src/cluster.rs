//! A real Kubernetes: etcd and an API server alone, with all controllers, or a whole cluster with a
//! node, DNS and an ingress controller. `make cluster` and the tests use this same code.
//!
//! A cluster has a name and a folder; what runs is recorded there, and runs detached. One that a test
//! started ends with the value that owns it, and also when the test is killed: a guard process waits
//! for that.

mod addons;
mod cgroups;
mod control_plane;
mod network;
mod node;
mod part;
mod pki;
mod site;
mod teardown;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use crate::parts::{checkout, install_cryptography, product};
use crate::process::tail;
use pki::Pki;
use site::Site;

pub use part::Part;
pub use site::Mode;
pub use tools::kubectl;

/// How long etcd and the API server may take to be ready on a loaded machine.
const START: Duration = Duration::from_secs(90);

/// How often a start on loopback is repeated when somebody else took one of the ports meanwhile.
const ATTEMPTS: u32 = 3;

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    site: Site,
    client: reqwest::Client,
    /// Whether dropping this value ends the cluster.
    owned: bool,
}

impl Cluster {
    /// Starts a cluster that ends with the returned value.
    pub async fn start(mode: Mode) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let number = STARTED.fetch_add(1, Ordering::Relaxed);
            let name = format!("test-{}-{number}", std::process::id());
            match Self::create(&name, mode, Some(std::process::id())).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    /// The cluster of the environment's `KUBECONFIG` when that is one of ours and a whole one (it
    /// stays when the value is dropped), else a new one that ends with the value.
    pub async fn obtain() -> Result<Self> {
        let given = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let folder = given.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        match folder.and_then(|folder| Site::recorded(&folder).ok()) {
            Some(site) if site.mode == Mode::Node => Self::attach_to(site),
            _ => Self::start(Mode::Node).await,
        }
    }

    /// Starts a cluster of this name that ends with the returned value, or with this process.
    pub async fn hold(name: &str, mode: Mode) -> Result<Self> {
        Self::create(name, mode, Some(std::process::id())).await
    }

    /// Starts a cluster that stays until `down`; what is left of an earlier one of that name goes first.
    pub async fn up(name: &str, mode: Mode) -> Result<Self> {
        Self::create(name, mode, None).await
    }

    /// The cluster of that name and kind if it is well, else a new one.
    pub async fn running_or_up(name: &str, mode: Mode) -> Result<Self> {
        if let Ok(running) = Self::attach(name)
            && running.site.mode == mode
            && Part::all(&running.site.folder).iter().all(Part::runs)
            && let Ok(api_server) = running.part("kube-apiserver")
            && running.wait_until_ready(&api_server).await.is_ok()
        {
            return Ok(running);
        }
        Self::up(name, mode).await
    }

    /// Whether a kubeconfig is one that `up` wrote, also when that cluster is gone meanwhile.
    pub fn is_ours(kubeconfig: &Path) -> bool {
        site::root().is_ok_and(|root| kubeconfig.starts_with(root))
    }

    /// A cluster that runs already; dropping the value leaves it running.
    pub fn attach(name: &str) -> Result<Self> {
        let folder = site::root()?.join(name);
        Self::attach_to(Site::recorded(&folder).with_context(|| format!("there is no cluster {name}"))?)
    }

    fn attach_to(site: Site) -> Result<Self> {
        let pki = Pki::open(&site.folder.join("pki"));
        let client = client(&pki)?;
        Ok(Self {
            site,
            client,
            owned: false,
        })
    }

    /// Removes every trace of a cluster, running or half-started.
    pub fn down(name: &str) -> Result<()> {
        site::check_name(name)?;
        let _lock = teardown::lock()?;
        teardown::remove(name)
    }

    /// Waits until the process that owns a cluster is gone, then removes the cluster. Ends, too, when
    /// the owner itself removed it.
    pub fn guard(name: &str) -> Result<()> {
        let folder = site::root()?.join(name);
        let Some(owner) = Site::recorded(&folder)?.owner else {
            bail!("the cluster {name} belongs to nobody");
        };
        while owner.runs() {
            std::thread::sleep(Duration::from_millis(200));
            if !folder.exists() {
                return Ok(());
            }
        }
        Self::down(name)
    }

    /// The names of the clusters that are on this machine.
    pub fn names() -> Result<Vec<String>> {
        teardown::names()
    }

    async fn create(name: &str, mode: Mode, owner: Option<u32>) -> Result<Self> {
        install_cryptography();
        let (site, pki) = prepare(name, mode, owner)?;
        let cluster = Self {
            client: client(&pki)?,
            owned: owner.is_some(),
            site,
        };
        if owner.is_some() {
            cluster.start_guard()?;
        }
        cluster.start_everything(&pki).await?;
        Ok(cluster)
    }

    async fn start_everything(&self, pki: &Pki) -> Result<()> {
        let site = &self.site;
        for (file, user) in [
            ("kubeconfig", "admin"),
            ("controller-manager.kubeconfig", "controller-manager"),
            ("scheduler.kubeconfig", "scheduler"),
            ("kubelet.kubeconfig", "kubelet"),
            ("proxy.kubeconfig", "proxy"),
        ] {
            self.write_kubeconfig(
                file,
                &json!({"client-certificate": pki.certificate(user), "client-key": pki.key(user)}),
            )?;
        }
        control_plane::start_etcd(site)?;
        node::write_resolver(site)?;
        let api_server = control_plane::start_api_server(site, pki)?;
        if site.mode == Mode::Node {
            node::start_containerd(site)?;
            for variable in addons::IMAGES {
                node::load_image(site, &crate::parts::program(variable)?)?;
            }
        }
        self.wait_until_ready(&api_server).await?;
        if site.mode == Mode::ControlPlane {
            return Ok(());
        }
        control_plane::start_controller_manager(site, pki, &site.path("controller-manager.kubeconfig"))?;
        if site.mode == Mode::Controllers {
            return Ok(());
        }
        control_plane::start_scheduler(site, &site.path("scheduler.kubeconfig"))?;
        node::start_kubelet(site, pki, &site.path("kubelet.kubeconfig"))?;
        node::start_kube_proxy(site, &site.path("proxy.kubeconfig"))?;
        self.allow_kube_proxy().await?;
        addons::install(self, pki).await?;
        addons::wait_until_ready(self).await
    }

    /// Waits until the API server says that it is ready, for example after a restart.
    pub async fn wait_until_ready(&self, api_server: &Part) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.client.get(format!("{}/readyz", self.url())).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            api_server.expect_running()?;
            if Instant::now() > deadline {
                bail!(
                    "kube-apiserver is not ready after {START:?}:\n{}",
                    tail(&api_server.output(), 30)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The RBAC defaults know the user `system:kube-proxy`, but bind nobody to what it needs of nodes.
    async fn allow_kube_proxy(&self) -> Result<()> {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "kube-proxy"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:kube-proxy"}],
        });
        self.apply(&binding.to_string()).await
    }

    /// Starts the process that removes this cluster when its owner is gone.
    fn start_guard(&self) -> Result<()> {
        let guard = vec![guard_program()?.into(), "guard".into(), self.site.name.clone().into()];
        Part::start(&self.site.folder, "guard", guard).map(|_| ())
    }

    /// The address of the API server, without a path.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.site.address, self.site.api_port)
    }

    /// The address of the node, where the ingress controller serves ports 80 and 443.
    pub fn address(&self) -> &str {
        &self.site.address
    }

    /// The name that `down` and `attach` take.
    pub fn name(&self) -> &str {
        &self.site.name
    }

    /// The network namespace of a whole cluster, as `nsenter --net=/var/run/netns/…` takes it.
    pub fn namespace(&self) -> Option<String> {
        self.site.namespace()
    }

    /// An HTTP client with the rights of `system:masters`.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A kubeconfig file with the same rights, for programs that take one.
    pub fn kubeconfig(&self) -> PathBuf {
        self.site.folder.join("kubeconfig")
    }

    /// The folder that holds everything of this cluster.
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// The certificate of the authority that signed the API server's and the ingress controller's.
    pub fn authority(&self) -> PathBuf {
        self.pki().certificate("ca")
    }

    fn pki(&self) -> Pki {
        Pki::open(&self.site.folder.join("pki"))
    }

    /// One of its programs, for example `kube-apiserver` or `kubelet`: to kill, freeze, start again.
    pub fn part(&self, name: &str) -> Result<Part> {
        Part::recorded(&self.site.folder, name)
    }

    /// Kills what makes the node a node, as a crash of all of it would. Its pods go on.
    pub fn kill_node(&self) -> Result<()> {
        ["kubelet", "containerd", "kube-proxy"]
            .iter()
            .try_for_each(|name| self.part(name)?.kill())
    }

    /// Starts again what `kill_node` killed, in the order that it needs.
    pub fn start_node_again(&self) -> Result<()> {
        let mut containerd = self.part("containerd")?;
        containerd.start_again()?;
        node::wait_for_containerd(&self.site, &containerd)?;
        node::start_kubelet_again(&mut self.part("kubelet")?)?;
        self.part("kube-proxy")?.start_again()
    }

    /// Loads the images of an OCI archive into the node. Pods name them with `imagePullPolicy: Never`.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        ensure!(self.site.mode == Mode::Node, "a cluster without a node has no images");
        node::load_image(&self.site, archive)
    }

    /// A command that runs inside the cluster's network, where it reaches pods and Services and resolves their names.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let line = self.site.inside_with_names(program);
        let (program, arguments) = line.split_first().context("a command without a program")?;
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        if std::thread::panicking() {
            self.keep_logs();
        }
        // What remains is removed by the guard, or by the next start.
        let _ = Self::down(&self.site.name);
    }
}

impl Cluster {
    /// Copies the logs of a cluster whose test failed to where they outlive it.
    fn keep_logs(&self) {
        let target = checkout().join("target/cluster-logs").join(&self.site.name);
        let source = self.site.folder.join("logs");
        // Best effort: the failure itself is more important.
        let _ = fs::create_dir_all(&target);
        let _ = fs::copy(self.audit_log(), target.join("audit.log"));
        for entry in fs::read_dir(source).into_iter().flatten().flatten() {
            let _ = fs::copy(entry.path(), target.join(entry.file_name()));
        }
    }
}

/// Removes what is in the way, then makes folder, network, cgroup and certificates.
fn prepare(name: &str, mode: Mode, owner: Option<u32>) -> Result<(Site, Pki)> {
    site::check_name(name)?;
    let owner = owner.map(part::Recorded::of).transpose()?;
    let _lock = teardown::lock()?;
    teardown::remove_abandoned()?;
    teardown::remove(name)?;
    let site = if mode == Mode::Node {
        Site::namespaced(name, String::new(), owner)?.record()?;
        let site = Site::namespaced(name, network::up(name)?, owner)?;
        cgroups::create(&site.cgroup())?;
        site
    } else {
        Site::loopback(name, mode, owner)?
    };
    site.record()?;
    let pki = Pki::write(&site.folder.join("pki"), &site.address)?;
    Ok((site, pki))
}

/// This program itself when it is the one that can guard, else the one from the same build.
fn guard_program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    if own.file_name().is_some_and(|name| name == "nauthera-cluster") {
        return Ok(own);
    }
    product("nauthera-cluster")
}

fn client(pki: &Pki) -> Result<reqwest::Client> {
    install_cryptography();
    let authority = fs::read(pki.certificate("ca"))?;
    Ok(reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
        .identity(reqwest::Identity::from_pem(pki.identity("admin")?.as_bytes())?)
        .timeout(Duration::from_secs(30))
        .build()?)
}
