//! `nauthera-cluster up|down|list|load|run`: a real Kubernetes on this machine, for people and for tests.
//! `make cluster` builds what it needs and calls it.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use e2e::cluster::{Cluster, Mode};
use e2e::parts::checkout;

const USAGE: &str = "usage: nauthera-cluster COMMAND
  up [NAME]                  start a whole cluster, unless it runs already
  control-plane [NAME]       start etcd and the API server only
  controllers [NAME]         start etcd, the API server and the controllers, but no node
  hold NAME                  start a whole cluster that ends with this program, however that ends
  hold-control-plane NAME    the same with etcd and the API server only
  down [NAME]                remove every trace of a cluster
  list                       print the names of the clusters on this machine
  load NAME ARCHIVE…         load the images of OCI archives into the node
  run NAME PROGRAM…          run a program inside the cluster's network
The name is `default` when none is given.
";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match *words.as_slice() {
        ["up"] => up("default", Mode::Node).await,
        ["up", name] => up(name, Mode::Node).await,
        ["control-plane"] => up("default", Mode::ControlPlane).await,
        ["control-plane", name] => up(name, Mode::ControlPlane).await,
        ["controllers"] => up("default", Mode::Controllers).await,
        ["controllers", name] => up(name, Mode::Controllers).await,
        ["hold", name] => hold(name, Mode::Node).await,
        ["hold-control-plane", name] => hold(name, Mode::ControlPlane).await,
        ["down"] => Cluster::down("default"),
        ["down", name] => Cluster::down(name),
        ["list"] => list(),
        ["load", name, ref archives @ ..] => load(name, archives),
        ["run", name, program, ref arguments @ ..] => run(name, program, arguments),
        ["guard", name] => Cluster::guard(name),
        _ => bail!(USAGE),
    }
}

async fn up(name: &str, mode: Mode) -> Result<()> {
    if let Some(kubeconfig) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty())
        && !Cluster::is_ours(Path::new(&kubeconfig))
    {
        return say(&format!(
            "# KUBECONFIG names a cluster already; it is used as it is.\nexport KUBECONFIG={}\n",
            Path::new(&kubeconfig).display()
        ));
    }
    let cluster = Cluster::running_or_up(name, mode).await?;
    let kubeconfig = cluster.kubeconfig();
    let mut said = format!("export KUBECONFIG={}\n", kubeconfig.display());
    if mode == Mode::Node {
        use std::fmt::Write as _;
        // What `make images` packed.
        for image in ["operator", "auth"] {
            let archive = checkout().join(format!("target/images/nauthera-{image}.tar"));
            if archive.is_file() {
                cluster.load_image(&archive)?;
            }
        }
        for tool in ["NAUTHERA_KUBECTL", "NAUTHERA_HELM"] {
            let folder = std::env::var_os(tool).and_then(|path| Some(Path::new(&path).parent()?.to_owned()));
            let known = std::env::var_os("PATH").unwrap_or_default();
            if let Some(folder) = folder.filter(|folder| !std::env::split_paths(&known).any(|one| one == *folder)) {
                writeln!(said, "export PATH=$PATH:{}", folder.display())?;
            }
        }
        let address = cluster.address();
        write!(
            said,
            "# Ingress and Gateway `traefik`: http://{address} and https://{address}; inside, every name below .test leads there.
# The authority of its certificate for *.nauthera.test and *.example.test: {}
# Run something inside the cluster's network: {} run {name} PROGRAM…
",
            cluster.authority().display(),
            std::env::current_exe()?.display(),
        )?;
    }
    say(&said)
}

async fn hold(name: &str, mode: Mode) -> Result<()> {
    let cluster = Cluster::hold(name, mode).await?;
    say(&format!("export KUBECONFIG={}\n", cluster.kubeconfig().display()))?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn list() -> Result<()> {
    let mut names = Cluster::names()?.join("\n");
    if !names.is_empty() {
        names.push('\n');
    }
    say(&names)
}

fn load(name: &str, archives: &[&str]) -> Result<()> {
    let cluster = Cluster::attach(name)?;
    archives
        .iter()
        .try_for_each(|archive| cluster.load_image(&PathBuf::from(archive)))
}

fn run(name: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let cluster = Cluster::attach(name)?;
    let error = cluster
        .command(Path::new(program))?
        .env("KUBECONFIG", cluster.kubeconfig())
        .args(arguments)
        .exec();
    Err(error).with_context(|| program.to_owned())
}

fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
