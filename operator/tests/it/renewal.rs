//! Certificates and authorities are renewed under a running auth server: the real program, on real sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oidc::Timestamp;
use operator::pki::{Peers, write_folder};
use operator::publish::{Bearer, FleetFeed, Limits, PodAck, Publisher, TokenSigner};
use snapshot::{Fleet, Hash};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
const UID: &str = "uid-of-the-server";

/// The program of the auth servers, from the same build as this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().with_file_name("nauthera-auth");
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build --workspace --bins`",
        program.display()
    );
    program
}

/// A server that is killed when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, operator: SocketAddr, fleet: &Fleet) -> Server {
    let database = format!("sqlite://{}", folder.join("people.sqlite").display());
    let migrated = Command::new(program())
        .args(["migrate", "--database-url", &database])
        .stdout(Stdio::null())
        .status();
    assert!(migrated.unwrap().success());
    let config = folder.join("config");
    std::fs::create_dir(&config).unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let child = Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"])
        .args(["--database-url", &database, "--config-dir"])
        .arg(config)
        .args(["--operator-address", &operator.to_string(), "--peer-dir"])
        .arg(folder.join("peer"))
        .arg("--token-file")
        .arg(folder.join("token"))
        .args(["--fleet", &fleet.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    Server(child.unwrap())
}

/// An operator that serves the fleet with what `peers` hold.
struct Operator {
    publisher: Publisher,
    serving: JoinHandle<()>,
    artefact: watch::Sender<Option<std::sync::Arc<snapshot::Artefact>>>,
}

impl Operator {
    fn start(peers: &Peers, tokens: &TokenSigner, fleet: &Fleet, listener: TcpListener) -> Self {
        let limits = Limits {
            heartbeat: Duration::from_secs(1),
            farewell: Duration::from_secs(1),
            ..Limits::default()
        };
        let publisher = Publisher::new(limits, tokens.verifier());
        publisher.set_identity(peers.operator()).unwrap();
        let (sender, artefact) = watch::channel(None);
        let authorities = peers.authorities().unwrap();
        publisher.set_fleet(fleet, FleetFeed { artefact, authorities }).unwrap();
        let serving = publisher.clone();
        Self {
            publisher,
            serving: tokio::spawn(async move { serving.serve(listener).await.unwrap() }),
            artefact: sender,
        }
    }

    /// Takes what was renewed, as `dev` does.
    fn take(&self, peers: &Peers, fleet: &Fleet, folder: &Path) {
        let artefact = self.artefact.subscribe();
        let authorities = peers.authorities().unwrap();
        let feed = FleetFeed { artefact, authorities };
        self.publisher.set_fleet(fleet, feed).unwrap();
        hand_out(peers, folder);
        self.publisher.set_identity(peers.operator()).unwrap();
    }

    /// Waits until the server is connected and trusts `bundle`.
    async fn hears(&self, fleet: &Fleet, bundle: &str, folder: &Path) -> PodAck {
        let bundle = Some(Hash::of(bundle.as_bytes()));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let acks = self.publisher.acks().borrow().clone();
            let pod = acks.fleets.get(fleet).and_then(|fleet| fleet.pods.get(UID)).cloned();
            match pod {
                Some(pod) if pod.disconnected.is_none() && pod.bundle == bundle => return pod,
                other => assert!(
                    Instant::now() < deadline,
                    "{other:?}\n{}",
                    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn hand_out(peers: &Peers, folder: &Path) {
    let leaf = peers.server(UID).unwrap();
    write_folder(&folder.join("peer"), &leaf.files(&peers.bundle())).unwrap();
}

fn reported(pod: &PodAck) -> Vec<Option<Hash>> {
    vec![pod.bundle]
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_and_certificates_change_under_a_running_server_without_dropping_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let fleet: Fleet = "login/main".parse().unwrap();
    let now = Timestamp::from_unix_millis(jiff::Timestamp::now().as_millisecond());
    let before = |duration: Duration| {
        let seconds = now.unix_seconds() - i64::try_from(duration.as_secs()).unwrap();
        Timestamp::from_unix_seconds(seconds)
    };
    // Authorities that had to be followed since yesterday, certificates that had to be renewed five days ago.
    let mut peers = Peers::generate(&fleet, [UID.to_owned()], before(DAY * (9 * 365 + 1))).unwrap();
    let renewed = peers.renew(before(DAY * 25), &[]).unwrap();
    assert!(renewed.operator && !renewed.bundle && renewed.servers == [UID]);
    hand_out(&peers, folder);
    let tokens = TokenSigner::generate("operator", "nauthera-operator").unwrap();
    let bearer = Bearer {
        namespace: fleet.namespace().to_owned(),
        service_account: fleet.name().to_owned(),
        pod: "main-1".to_owned(),
        uid: UID.to_owned(),
    };
    let token = tokens.sign(&bearer, now, DAY).unwrap();
    write_folder(folder, &[("token".to_owned(), token.into_bytes())]).unwrap();

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let operator = Operator::start(&peers, &tokens, &fleet, listener);
    let _server = start(folder, address, &fleet);
    let first_bundle = peers.bundle();
    let first = operator.hears(&fleet, &first_bundle, folder).await;

    // A quarter of an hour ago: certificates are renewed, successors announced. The former ones still issue.
    let renewed = peers.renew(before(Duration::from_mins(15)), &reported(&first)).unwrap();
    assert!(renewed.operator && renewed.bundle && renewed.authorities && renewed.servers == [UID]);
    operator.take(&peers, &fleet, folder);
    let still_first = peers.operator().certificate_pem.clone();
    // The server has not reported the bundle yet: what it does not trust is not shown to it.
    peers.renew(now, &reported(&first)).unwrap();
    assert_eq!(peers.operator().certificate_pem, still_first);
    let second = operator.hears(&fleet, &peers.bundle(), folder).await;

    // Every connected server reported the bundle: the successors issue.
    let renewed = peers.renew(now, &reported(&second)).unwrap();
    assert!(renewed.operator);
    operator.take(&peers, &fleet, folder);
    assert_eq!(
        first.stream,
        operator.hears(&fleet, &peers.bundle(), folder).await.stream
    );

    // The former authorities are forgotten, and the operator restarts: both sides prove themselves by the successors.
    let renewed = peers.renew(now.after(DAY * 2), &reported(&second)).unwrap();
    assert!(renewed.bundle && renewed.authorities && !renewed.operator);
    assert!(!peers.bundle().contains(&first_bundle));
    operator.take(&peers, &fleet, folder);
    operator.publisher.drain();
    operator.serving.await.unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let operator = Operator::start(&peers, &tokens, &fleet, listener);
    operator.hears(&fleet, &peers.bundle(), folder).await;
}
