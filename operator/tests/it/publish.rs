//! The stream on real sockets, with a small peer in place of an auth server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use oidc::Timestamp;
use oidc::config::{
    AccessTokenFormat, Client, ClientAuthentication, ClientTokens, ConsentRule, GrantType, Resource,
    SignatureAlgorithm, TokenRules,
};
use oidc::id::RealmId;
use operator::pki::{Authority, Leaf};
use operator::publish::{Bearer, FleetFeed, Limits, Publisher, Source, TokenSigner};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use snapshot::proto::config_client::ConfigClient;
use snapshot::proto::{self, FromOperator, FromServer, from_operator, from_server};
use snapshot::{Acknowledgements, Artefact, Fleet, Inputs, OPERATOR_NAME, ServerVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_millis(jiff::Timestamp::now().as_millisecond())
}

pub(crate) fn client(client_id: &str, display_name: &str) -> Resource {
    let minute = Duration::from_mins(1);
    Resource::Client(Client {
        realm: RealmId::of_issuer("https://login.example.com"),
        client_id: client_id.to_owned(),
        name: "shop/web".to_owned(),
        display_name: display_name.to_owned(),
        logo: None,
        policy_uri: None,
        tos_uri: None,
        authentication: ClientAuthentication::None,
        redirect_uris: ["https://shop.example.com/callback".to_owned()].into(),
        post_logout_redirect_uris: Box::default(),
        allowed_origins: Box::default(),
        grant_types: [GrantType::AuthorizationCode].into(),
        scopes: ["openid".to_owned()].into(),
        default_scopes: Arc::default(),
        audiences: Arc::default(),
        pkce_required: true,
        tokens: ClientTokens {
            format: AccessTokenFormat::Jwt,
            lifetimes: TokenRules {
                code: minute,
                access: minute,
                id: minute,
                refresh: minute,
                refresh_idle: minute,
                refresh_leeway: minute,
            },
            id_token_algorithm: SignatureAlgorithm::Es256,
            access_token_algorithm: SignatureAlgorithm::Es256,
            rotate_refresh: true,
        }
        .into(),
        consent: ConsentRule::Ask,
    })
}

pub(crate) fn commit(previous: Option<&Artefact>, fleet: &Fleet, desired: Vec<Resource>) -> Arc<Artefact> {
    answered(previous, fleet, desired, Acknowledgements::default())
}

/// What follows `previous` once servers gave these answers.
pub(crate) fn answered(
    previous: Option<&Artefact>,
    fleet: &Fleet,
    desired: Vec<Resource>,
    acknowledgements: Acknowledgements,
) -> Arc<Artefact> {
    let inputs = Inputs {
        minimum_server: ServerVersion(0, 1, 0),
        acknowledgements,
        ..Inputs::new(fleet.clone(), desired, now())
    };
    Arc::new(Artefact::next(previous, inputs).artefact)
}

/// A publisher of fleet `login/a` on a port of its own.
struct World {
    publisher: Publisher,
    address: SocketAddr,
    fleet: Fleet,
    authority: Authority,
    operators: Authority,
    signer: TokenSigner,
    artefact: watch::Sender<Option<Arc<Artefact>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl World {
    async fn start(limits: Limits, desired: Vec<Resource>) -> Self {
        let fleet: Fleet = "login/a".parse().unwrap();
        let authority = Authority::generate("fleet login/a", now()).unwrap();
        let operators = Authority::generate("operators", now()).unwrap();
        let signer = TokenSigner::generate("https://cluster", "nauthera-operator").unwrap();
        let identity = operators.issue_operator(now()).unwrap();
        let publisher = Publisher::new(limits, signer.verifier());
        publisher.set_identity(&identity).unwrap();
        let artefact = watch::Sender::new(Some(commit(None, &fleet, desired)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = publisher.clone();
        let serving = tokio::spawn(async move { server.serve(listener).await.unwrap() });
        let world = Self {
            publisher,
            address,
            fleet,
            authority,
            operators,
            signer,
            artefact,
            serving,
        };
        world.serve_fleet(&world.fleet, &world.authority);
        world
    }

    fn serve_fleet(&self, fleet: &Fleet, authority: &Authority) {
        let certificate = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
        let feed = FleetFeed {
            artefact: self.artefact.subscribe(),
            authorities: vec![certificate],
        };
        self.publisher.set_fleet(fleet, feed).unwrap();
    }

    fn committed(&self) -> Arc<Artefact> {
        self.artefact.borrow().clone().unwrap()
    }

    fn commit(&self, desired: Vec<Resource>) -> Arc<Artefact> {
        let next = commit(Some(&self.committed()), &self.fleet, desired);
        self.artefact.send_replace(Some(Arc::clone(&next)));
        next
    }

    fn token(&self, fleet: &Fleet, uid: &str) -> String {
        let bearer = Bearer {
            namespace: fleet.namespace().to_owned(),
            service_account: fleet.name().to_owned(),
            pod: format!("pod-{uid}"),
            uid: uid.to_owned(),
        };
        self.signer.sign(&bearer, now(), Duration::from_hours(1)).unwrap()
    }

    fn leaf(&self) -> Leaf {
        self.authority.issue_server(&self.fleet, now()).unwrap()
    }

    async fn dial(&self, leaf: Option<&Leaf>, trusted: &Authority) -> Result<Peer, String> {
        Peer::dial(self.address, leaf, trusted).await
    }

    /// A server that said hello and holds nothing.
    async fn server(&self, uid: &str) -> Peer {
        let mut peer = self.dial(Some(&self.leaf()), &self.operators).await.unwrap();
        peer.hello(&self.token(&self.fleet, uid)).await;
        peer
    }
}

pub(crate) struct Peer {
    outgoing: mpsc::Sender<FromServer>,
    incoming: tonic::Streaming<FromOperator>,
}

impl Peer {
    pub(crate) async fn dial(address: SocketAddr, leaf: Option<&Leaf>, trusted: &Authority) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(trusted.certificate_pem().as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match leaf {
            None => config.with_no_client_auth(),
            Some(leaf) => {
                let chain = vec![CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose().as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let socket = TcpStream::connect(address).await?;
                let name = ServerName::try_from(OPERATOR_NAME).unwrap();
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, socket).await?))
            }
        });
        let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
        let channel = endpoint
            .connect_with_connector(connect)
            .await
            .map_err(|error| format!("{error:?}"))?;
        let (outgoing, messages) = mpsc::channel(8);
        let opened = ConfigClient::new(channel).stream(ReceiverStream::new(messages)).await;
        let incoming = opened.map_err(|status| status.to_string())?.into_inner();
        Ok(Self { outgoing, incoming })
    }

    pub(crate) async fn say(&self, kind: from_server::Kind) {
        self.outgoing.send(FromServer { kind: Some(kind) }).await.unwrap();
    }

    pub(crate) async fn hello(&mut self, token: &str) {
        self.hello_with(token, None).await;
    }

    /// Says hello as a server that holds an artefact already.
    async fn hello_with(&mut self, token: &str, held: Option<&Artefact>) {
        let hello = proto::Hello {
            head: held.map(|held| held.head().into()),
            content: held.map_or_else(Vec::new, |held| held.manifest().content.as_bytes().to_vec()),
            protocol_min: 1,
            protocol_max: 1,
            server_version: "0.1.0".to_owned(),
            token: token.to_owned(),
            ..proto::Hello::default()
        };
        self.say(from_server::Kind::Hello(hello)).await;
    }

    /// The next message that is no heartbeat; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<from_operator::Kind>, tonic::Status> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.incoming.message())
                .await
                .expect("a message in time")?;
            match message.map(|message| message.kind.unwrap()) {
                Some(from_operator::Kind::Heartbeat(_)) => {}
                other => return Ok(other),
            }
        }
    }

    /// The pieces of the next update, answered.
    pub(crate) async fn update(&mut self) -> Vec<proto::Piece> {
        let mut pieces = Vec::new();
        loop {
            match self.next().await.unwrap().expect("an open stream") {
                from_operator::Kind::Update(update) => pieces.extend(update.pieces),
                from_operator::Kind::Commit(commit) => {
                    let result = proto::Result {
                        head: commit.head,
                        content: commit.content,
                        ..proto::Result::default()
                    };
                    self.say(from_server::Kind::Result(result)).await;
                    return pieces;
                }
                from_operator::Kind::Welcome(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn some() -> Vec<Resource> {
    vec![client("shop", "Shop")]
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_refused() {
    let world = World::start(Limits::default(), some()).await;
    assert!(world.dial(None, &world.operators).await.is_err());
    assert!(world.publisher.acks().borrow().fleets.is_empty());
}

#[tokio::test]
async fn an_authority_of_fleet_a_cannot_sign_the_name_of_fleet_b() {
    let world = World::start(Limits::default(), some()).await;
    let other: Fleet = "login/b".parse().unwrap();
    world.serve_fleet(&other, &Authority::generate("fleet login/b", now()).unwrap());
    let forged = world.authority.issue_server(&other, now()).unwrap();
    assert!(world.dial(Some(&forged), &world.operators).await.is_err());
    // The same authority is good for its own fleet.
    assert!(world.dial(Some(&world.leaf()), &world.operators).await.is_ok());
}

#[tokio::test]
async fn a_certificate_of_a_fleet_that_is_not_served_is_refused() {
    let world = World::start(Limits::default(), some()).await;
    let unknown = world
        .authority
        .issue_server(&"login/unknown".parse().unwrap(), now())
        .unwrap();
    assert!(world.dial(Some(&unknown), &world.operators).await.is_err());
    world.publisher.remove_fleet(&world.fleet);
    assert!(world.dial(Some(&world.leaf()), &world.operators).await.is_err());
}

#[tokio::test]
async fn the_streams_of_a_removed_fleet_end() {
    let world = World::start(Limits::default(), some()).await;
    let mut server = world.server("1").await;
    assert_eq!(server.update().await.len(), 1);
    world.publisher.remove_fleet(&world.fleet);
    assert_eq!(server.next().await.unwrap_err().code(), tonic::Code::Unavailable);
    assert!(world.publisher.acks().borrow().fleets.is_empty());
}

#[tokio::test]
async fn a_pod_that_no_watch_shows_is_refused_for_now_and_one_that_shows_up_in_time_is_served() {
    let limits = Limits {
        acquaintance: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::start(limits, some()).await;
    let roster = |uid: &str, name: &str| {
        let pods = BTreeMap::from([(uid.to_owned(), name.to_owned())]);
        BTreeMap::from([(world.fleet.clone(), pods)])
    };
    world.publisher.set_roster(roster("1", "pod-1"));
    let mut listed = world.server("1").await;
    assert_eq!(listed.update().await.len(), 1);

    // The UID of a pod that is gone, and another pod's UID.
    for roster in [roster("1", "pod-1"), roster("2", "pod-of-another-name")] {
        world.publisher.set_roster(roster);
        let mut unlisted = world.server("2").await;
        assert_eq!(unlisted.next().await.unwrap_err().code(), tonic::Code::Unavailable);
    }

    let mut late = world.server("3").await;
    world.publisher.set_roster(roster("3", "pod-3"));
    assert_eq!(late.update().await.len(), 1);
}

#[tokio::test]
async fn a_token_that_names_another_fleet_than_the_certificate_is_refused() {
    let world = World::start(Limits::default(), some()).await;
    for token in [world.token(&"login/b".parse().unwrap(), "1"), "nonsense".to_owned()] {
        let mut peer = world.dial(Some(&world.leaf()), &world.operators).await.unwrap();
        peer.hello(&token).await;
        assert!(peer.next().await.is_err());
    }
    assert!(world.publisher.acks().borrow().fleets.is_empty());
}

#[tokio::test]
async fn a_peer_that_never_reads_or_never_answers_is_evicted() {
    let limits = Limits {
        patience: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::start(limits, some()).await;
    let silent = world.server("silent").await;
    let counters = world.publisher.counters();
    eventually("the eviction", || counters.evictions.load(Ordering::Relaxed) == 1).await;
    eventually("its disconnection", || {
        let acks = world.publisher.acks();
        let acks = acks.borrow();
        acks.fleets[&world.fleet].connected() == 0
    })
    .await;
    eventually("its connection to close", || silent.outgoing.is_closed()).await;
}

#[tokio::test]
async fn fifty_servers_get_one_edit_as_one_small_update() {
    let mut desired: Vec<_> = (0..300)
        .map(|number| client(&format!("client-{number}"), "Client"))
        .collect();
    let world = World::start(Limits::default(), desired.clone()).await;
    let mut servers = Vec::new();
    for number in 0..50 {
        let mut server = world.server(&number.to_string()).await;
        assert_eq!(server.update().await.len(), 300);
        servers.push(server);
    }
    let mut acks = world.publisher.acks();
    let serving = |head| {
        let ready: BTreeSet<String> = (0..50).map(|number: u32| number.to_string()).collect();
        move |acks: &Arc<operator::publish::Acks>| {
            acks.fleets
                .values()
                .any(|fleet| fleet.acknowledgements(ready.clone()).answers().serving(head) == 50)
        }
    };
    let first = world.committed().head();
    tokio::time::timeout(PATIENCE, acks.wait_for(serving(first)))
        .await
        .unwrap()
        .unwrap();

    desired[7] = client("client-7", "Renamed");
    let next = world.commit(desired);
    for server in &mut servers {
        let pieces = server.update().await;
        assert_eq!(pieces.len(), 1);
        assert!(pieces[0].id.ends_with("/client-7"));
        assert!(pieces[0].current.len() + pieces[0].former.len() < 4096);
    }
    tokio::time::timeout(PATIENCE, acks.wait_for(serving(next.head())))
        .await
        .unwrap()
        .unwrap();
}

/// How many updates were timed.
fn pushes(world: &World) -> usize {
    let mut registry = Registry::default();
    registry.register("push", "", world.publisher.counters().push_seconds.clone());
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("push_count "));
    count.unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_a_server_is_sent_is_timed_until_it_serves_that() {
    let world = World::start(Limits::default(), some()).await;
    let mut server = world.server("1").await;
    assert_eq!(server.update().await.len(), 1);
    eventually("the first update is timed", || pushes(&world) == 1).await;
    world.commit(vec![client("shop", "Renamed")]);
    assert_eq!(server.update().await.len(), 1);
    eventually("the second update is timed", || pushes(&world) == 2).await;

    // One that has it already is only told so, and one that refuses it does not serve it.
    let mut knowing = world.dial(Some(&world.leaf()), &world.operators).await.unwrap();
    let token = world.token(&world.fleet, "2");
    knowing.hello_with(&token, Some(&world.committed())).await;
    assert_eq!(knowing.update().await.len(), 0);
    let mut refusing = world.server("3").await;
    while !matches!(refusing.next().await.unwrap().unwrap(), from_operator::Kind::Commit(_)) {}
    let refusal = proto::Refusal {
        code: "wrong_hash".to_owned(),
        ..proto::Refusal::default()
    };
    let result = proto::Result {
        refused: Some(refusal),
        ..proto::Result::default()
    };
    refusing.say(from_server::Kind::Result(result)).await;
    eventually("the refusal is heard", || {
        let acks = world.publisher.acks();
        let acks = acks.borrow();
        let pods = &acks.fleets[&world.fleet].pods;
        pods.get("3").is_some_and(|pod| pod.refused.is_some())
            && pods.get("2").is_some_and(|pod| pod.source == Source::Stream)
    })
    .await;
    assert_eq!(pushes(&world), 2);
}

#[tokio::test]
async fn a_certificate_is_swapped_without_dropping_streams() {
    let world = World::start(Limits::default(), some()).await;
    let mut server = world.server("1").await;
    assert_eq!(server.update().await.len(), 1);

    let successor = Authority::generate("operators 2", now()).unwrap();
    world
        .publisher
        .set_identity(&successor.issue_operator(now()).unwrap())
        .unwrap();
    assert!(world.dial(Some(&world.leaf()), &world.operators).await.is_err());
    assert!(world.dial(Some(&world.leaf()), &successor).await.is_ok());
    world.commit(vec![client("shop", "Renamed")]);
    assert_eq!(server.update().await.len(), 1);
}

#[tokio::test]
async fn a_draining_operator_says_goodbye_and_ends() {
    let limits = Limits {
        farewell: Duration::from_millis(200),
        ..Limits::default()
    };
    let world = World::start(limits, some()).await;
    let mut server = world.server("1").await;
    server.update().await;
    world.publisher.drain();
    assert!(matches!(server.next().await, Ok(Some(from_operator::Kind::GoAway(_)))));
    drop(server);
    tokio::time::timeout(PATIENCE, world.serving).await.unwrap().unwrap();
}
