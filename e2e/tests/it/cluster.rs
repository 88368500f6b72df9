//! The harness itself: clusters start, serve, survive the loss of their parts, and leave nothing behind.

mod traces;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::{Cluster, Mode, kubectl};
use e2e::parts::{checkout, product, program};
use serde_json::Value;
use traces::Traces;

/// How long a change may take to be served on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_control_plane_is_of_the_release_that_it_was_built_from() {
    let cluster = Cluster::start(Mode::ControlPlane).await.unwrap();
    let version: Value = cluster
        .client()
        .get(format!("{}/version", cluster.url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let minor: u32 = version["minor"]
        .as_str()
        .and_then(|minor| minor.parse().ok())
        .unwrap_or_default();
    assert!(
        minor >= 33,
        "CEL and schemas are judged by a current release: {version}"
    );
    let kubeconfig = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    assert!(kubeconfig.contains(&cluster.url()), "{kubeconfig}");
}

/// A server in a namespace that admits only restricted pods, reachable by Ingress and by HTTPRoute.
const SERVER: &str = include_str!("cluster/server.yaml");

#[tokio::test]
async fn a_whole_cluster_serves_through_its_ingress_survives_its_parts_and_leaves_nothing() {
    let cluster = Cluster::start(Mode::Node).await.unwrap();
    let traces = Traces::of(&cluster);
    let mut checks = Checks::default();
    serves(&cluster, &mut checks).await.unwrap();
    authorizes(&cluster, &mut checks).await.unwrap();
    survives(&cluster, &mut checks).await.unwrap();
    drop(cluster);
    assert_eq!(traces.left().unwrap(), Vec::<String>::new());
    checks.ok("removed: no process, mount, cgroup, network or file of it is left");
    checks.keep().unwrap();
}

async fn serves(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    cluster.load_image(&program("NAUTHERA_IMAGE_ECHO")?)?;
    cluster.apply(SERVER).await?;
    let wait = ["-n", "echo", "rollout", "status", "deployment/echo", "--timeout=60s"];
    cluster.kubectl(&wait).await?;
    checks.ok("a pod runs in a namespace of the restricted level");
    for url in [
        "http://echo.nauthera.test/a",
        "https://echo.nauthera.test/b",
        "http://route.nauthera.test/c",
        "https://route.nauthera.test/d",
    ] {
        let answer = eventually(cluster, url).await?;
        let found: Value = serde_json::from_str(&answer)?;
        ensure!(
            found
                .pointer("/pod")
                .and_then(Value::as_str)
                .is_some_and(|pod| pod.starts_with("echo-")),
            "{url}: {answer}"
        );
    }
    checks.ok("Ingress and HTTPRoute lead to it, over TLS with the cluster's own certificate, too");
    let inside = "http://echo.nauthera.test/fetch?url=http://echo.echo.svc.cluster.local/from-inside";
    ensure!(eventually(cluster, inside).await?.contains("/from-inside"));
    let outside = "http://echo.nauthera.test/fetch?url=http://route.nauthera.test/by-name";
    ensure!(eventually(cluster, outside).await?.contains("/by-name"));
    checks.ok("a pod reaches Services by name, and the ingress by the names below .test");
    let logs = cluster.kubectl(&["-n", "echo", "logs", "deployment/echo"]).await?;
    ensure!(logs.contains("GET /from-inside"), "{logs}");
    checks.ok("kubectl logs shows what it printed");
    Ok(())
}

async fn authorizes(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let jane = cluster.kubeconfig_of_user("jane", &["viewers"])?;
    let who = kubectl(&jane, &["auth", "whoami"], "").await?;
    ensure!(who.contains("jane") && who.contains("viewers"), "{who}");
    let secrets = kubectl(&jane, &["get", "secrets", "-A"], "").await;
    ensure!(
        secrets
            .as_ref()
            .is_err_and(|refused| refused.to_string().contains("Forbidden")),
        "{secrets:?}"
    );
    let account = cluster.kubeconfig_of_service_account("echo", "default").await?;
    let who = kubectl(&account, &["auth", "whoami"], "").await?;
    ensure!(who.contains("system:serviceaccount:echo:default"), "{who}");
    let says = |entry: &Value, pointer: &str, wanted: Value| entry.pointer(pointer) == Some(&wanted);
    let denied = |entry: &Value| {
        says(entry, "/user/username", "jane".into())
            && says(entry, "/objectRef/resource", "secrets".into())
            && says(entry, "/responseStatus/code", 403.into())
    };
    ensure!(
        cluster.audit_entries()?.iter().any(denied),
        "the refusal is not audited"
    );
    checks.ok("users and ServiceAccounts have their own rights, and the audit log says who was refused");
    Ok(())
}

async fn survives(cluster: &Cluster, checks: &mut Checks) -> Result<()> {
    let mut api_server = cluster.part("kube-apiserver")?;
    let started = Instant::now();
    cluster.compact().await?;
    api_server.kill()?;
    api_server.start_again()?;
    cluster.wait_until_ready(&api_server).await?;
    checks.recovered("kube-apiserver killed, its history compacted", started);

    cluster.kill_node()?;
    ensure!(
        eventually(cluster, "http://echo.nauthera.test/without-node")
            .await?
            .contains("/without-node")
    );
    let started = Instant::now();
    cluster.start_node_again()?;
    // A new pod is what needs all three.
    cluster
        .kubectl(&["-n", "echo", "rollout", "restart", "deployment/echo"])
        .await?;
    let wait = ["-n", "echo", "rollout", "status", "deployment/echo", "--timeout=90s"];
    cluster.kubectl(&wait).await?;
    ensure!(
        eventually(cluster, "http://echo.nauthera.test/new")
            .await?
            .contains("/new")
    );
    checks.recovered("kubelet, containerd and kube-proxy killed; served meanwhile", started);
    Ok(())
}

/// What the ingress answers for this URL, as soon as it does.
async fn eventually(cluster: &Cluster, url: &str) -> Result<String> {
    let host = url.split('/').nth(2).context("a URL without a host")?;
    let address: std::net::IpAddr = cluster.address().parse()?;
    let authority = std::fs::read(cluster.authority())?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
        .resolve(host, std::net::SocketAddr::new(address, 0))
        .timeout(Duration::from_secs(10))
        .build()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = match client.get(url).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(answer.text().await?),
            Ok(answer) => format!("{}", answer.status()),
            Err(error) => format!("{error:?}"),
        };
        ensure!(Instant::now() < deadline, "{url}: {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_killed_run_leaves_nothing_behind_and_blocks_nobody() {
    let name = format!("killed-{}", std::process::id());
    let traces = held_and_killed(&name, "hold").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !traces.left().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", traces.left());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_a_run_left_whose_guard_was_killed_too_goes_when_the_next_one_starts() {
    let name = format!("unguarded-{}", std::process::id());
    let traces = held_and_killed(&name, "hold-control-plane").unwrap();
    assert_ne!(
        traces.left().unwrap(),
        Vec::<String>::new(),
        "nobody was there to remove it"
    );
    let next = Cluster::start(Mode::ControlPlane).await.unwrap();
    assert_eq!(traces.left().unwrap(), Vec::<String>::new());
    drop(next);
}

/// Lets another process start a cluster, and kills it; without a node, also the guard, and first.
fn held_and_killed(name: &str, how: &str) -> Result<Traces> {
    use std::io::BufRead as _;
    let mut holder = Command::new(product("nauthera-cluster")?)
        .args([how, name])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    std::io::BufReader::new(holder.stdout.take().context("no output")?).read_line(&mut said)?;
    ensure!(said.contains("KUBECONFIG"), "it did not start: {said}");
    let cluster = Cluster::attach(name)?;
    let traces = Traces::of(&cluster);
    if how == "hold-control-plane" {
        cluster.part("guard")?.kill()?;
    }
    holder.kill()?;
    holder.wait()?;
    Ok(traces)
}

#[test]
fn a_foreign_kubeconfig_is_used_as_it_is() {
    let output = Command::new(product("nauthera-cluster").unwrap())
        .arg("up")
        .env("KUBECONFIG", "/elsewhere/kubeconfig")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("export KUBECONFIG=/elsewhere/kubeconfig\n"), "{said}");
    assert!(!Cluster::is_ours(Path::new("/elsewhere/kubeconfig")));
}

#[test]
fn a_name_that_is_no_name_removes_nothing() {
    for name in ["", "..", "a/b", "UPPER", "longer-than-a-name-of-a-cluster-may-be"] {
        let error = Cluster::down(name).unwrap_err().to_string();
        assert!(error.contains("the name of a cluster"), "{error}");
    }
}

/// What was seen, for the table at the end of a run.
#[derive(Default)]
struct Checks(Vec<String>);

impl Checks {
    fn ok(&mut self, what: &str) {
        self.0.push(format!("ok {what}"));
    }

    fn recovered(&mut self, what: &str, since: Instant) {
        self.ok(&format!("{what}: recovered in {:.1} s", since.elapsed().as_secs_f64()));
    }

    fn keep(&self) -> Result<()> {
        let folder = checkout().join("target/checks");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(
            folder.join("a cluster of our own.txt"),
            self.0.join("\n"),
        )?)
    }
}
