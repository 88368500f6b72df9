//! The feed on real files and sockets, with a small operator whose every word the test chooses.

mod gone;
mod keys;

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use auth_server::config_feed::{ConfigFeed, Handle, Settings, Source, Status};
use auth_server::settings::OperatorLink;
use oidc::config::{
    Branding, IdentifierKind, Issuer, KeySet, KeyStage, LoginRules, Realm, Resource, Scope, SealingKey, SessionRules,
    SignatureAlgorithm, SigningKey, TokenRules,
};
use oidc::id::RealmId;
use oidc::key_generation::generate_signing_key;
use oidc::{Secret, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as CertificateIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use snapshot::proto::config_server::{Config, ConfigServer};
use snapshot::proto::{self, FromOperator, FromServer, from_operator, from_server};
use snapshot::{Artefact, Hash, Head, Inputs, MANIFEST_FILE, Manifest, OPERATOR_NAME, ServerVersion};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Request, Response, Streaming};

const PATIENCE: Duration = Duration::from_secs(20);

fn issuer(name: &str) -> String {
    format!("https://{name}.example.com")
}

fn realm(name: &str, display_name: &str) -> Resource {
    let minute = Duration::from_mins(1);
    let openid = Scope {
        description: None,
        claims: Vec::new(),
    };
    Resource::Realm(Realm {
        id: RealmId::of_issuer(&issuer(name)),
        name: format!("login/{name}"),
        issuer: Issuer::parse(&issuer(name)).unwrap(),
        tokens: TokenRules {
            code: minute,
            access: minute,
            id: minute,
            refresh: minute,
            refresh_idle: minute,
            refresh_leeway: minute,
        },
        sessions: SessionRules {
            lifetime: minute,
            idle: minute,
        },
        scopes: BTreeMap::from([("openid".to_owned(), openid)]).into(),
        audiences: Arc::default(),
        login: LoginRules {
            identifiers: vec![IdentifierKind::Username],
            max_attempts: 5,
            attempt_window: minute,
        },
        branding: Branding {
            display_name: display_name.to_owned(),
            ..Branding::default()
        },
        locales: ["en".to_owned()].into(),
        not_before: None,
    })
}

fn new_key() -> SigningKey {
    generate_signing_key(SignatureAlgorithm::Es256).unwrap()
}

fn keys(name: &str, stage: KeyStage) -> Resource {
    static KEY: LazyLock<SigningKey> = LazyLock::new(new_key);
    keys_of(
        name,
        SigningKey {
            kid: "key-1".to_owned(),
            stage,
            ..KEY.clone()
        },
    )
}

fn keys_of(name: &str, key: SigningKey) -> Resource {
    Resource::Keys(KeySet {
        realm: RealmId::of_issuer(&issuer(name)),
        signing: vec![key],
        sealing: vec![SealingKey {
            kid: "seal-001".to_owned(),
            stage: KeyStage::Active,
            secret: Secret::new([3; 32]),
        }],
    })
}

fn both(display_name: &str) -> Vec<Resource> {
    let active = KeyStage::Active;
    vec![
        realm("one", display_name),
        keys("one", active),
        realm("two", "Two"),
        keys("two", active),
    ]
}

fn commit(previous: Option<&Artefact>, desired: Vec<Resource>) -> Artefact {
    let inputs = Inputs {
        minimum_server: ServerVersion(0, 1, 0),
        ..Inputs::new(
            "login/main".parse().unwrap(),
            desired,
            Timestamp::from_unix_seconds(1_800_000_000),
        )
    };
    Artefact::next(previous, inputs).artefact
}

pub(crate) fn write(folder: &Path, artefact: &Artefact) {
    for (name, bytes) in artefact.to_files() {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::new("login/main".parse().unwrap(), folder.to_owned());
    settings.backoff_first = Duration::from_millis(50);
    settings.reread = Duration::from_millis(50);
    settings
}

async fn wait_for(handle: &Handle, holds: impl Fn(&Status) -> bool) -> Status {
    let mut status = handle.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(|status| holds(status))).await;
    found.expect("the status in time").unwrap().clone()
}

/// What the realm is called on its pages, as served now.
fn served_name(handle: &Handle, name: &str) -> Option<String> {
    let served = handle.served().load_full();
    let realm = served.realm(RealmId::of_issuer(&issuer(name)))?;
    Some(realm.realm.branding.display_name.clone())
}

/// An operator with its own authority. Each stream is handed to the test.
pub(crate) struct Operator {
    /// Where it answers: two replicas.
    addresses: [String; 2],
    peer_dir: TempDir,
    streams: mpsc::UnboundedReceiver<Conversation>,
}

pub(crate) struct Conversation {
    outgoing: mpsc::Sender<Result<FromOperator, tonic::Status>>,
    incoming: Streaming<FromServer>,
}

struct Script(mpsc::UnboundedSender<Conversation>);

#[tonic::async_trait]
impl Config for Script {
    type StreamStream = Pin<Box<ReceiverStream<Result<FromOperator, tonic::Status>>>>;

    async fn stream(
        &self,
        request: Request<Streaming<FromServer>>,
    ) -> Result<Response<Self::StreamStream>, tonic::Status> {
        let (outgoing, messages) = mpsc::channel(16);
        let incoming = request.into_inner();
        self.0
            .send(Conversation { outgoing, incoming })
            .map_err(|_| tonic::Status::unavailable("test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

impl Operator {
    pub(crate) async fn start() -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let signer = CertificateIssuer::new(authority, authority_key);
        let leaf = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![name.to_owned()])
                .unwrap()
                .signed_by(&key, &signer)
                .unwrap();
            (certificate, key)
        };
        let peer_dir = tempfile::tempdir().unwrap();
        let (certificate, key) = leaf("server.example.com");
        std::fs::write(peer_dir.path().join("ca.crt"), authority_certificate.pem()).unwrap();
        std::fs::write(peer_dir.path().join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(peer_dir.path().join("tls.key"), key.serialize_pem()).unwrap();
        std::fs::write(peer_dir.path().join("token"), "a-token\n").unwrap();

        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(authority_certificate.der().to_vec()))
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = leaf(OPERATOR_NAME);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![CertificateDer::from(certificate.der().to_vec())], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];

        let (accepted, connections) = mpsc::unbounded_channel();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut addresses = [String::new(), String::new()];
        for address in &mut addresses {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            *address = listener.local_addr().unwrap().to_string();
            let (accepted, acceptor) = (accepted.clone(), acceptor.clone());
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let _ = accepted.send(Ok::<_, std::io::Error>(stream));
                    }
                }
            });
        }
        let (opened, streams) = mpsc::unbounded_channel();
        let server = tonic::transport::Server::builder().add_service(ConfigServer::new(Script(opened)));
        tokio::spawn(server.serve_with_incoming(UnboundedReceiverStream::new(connections)));
        Self {
            addresses,
            peer_dir,
            streams,
        }
    }

    fn settings(&self, config_dir: &Path) -> Settings {
        let mut settings = settings(config_dir);
        settings.operator_addresses = vec![self.addresses[0].clone()];
        settings.peer_dir = Some(self.peer_dir.path().to_owned());
        settings.token_file = Some(self.peer_dir.path().join("token"));
        settings
    }

    /// How a server reaches its first replica.
    pub(crate) fn link(&self) -> OperatorLink {
        OperatorLink {
            addresses: vec![self.addresses[0].clone()],
            peer_dir: self.peer_dir.path().to_owned(),
            token_file: self.peer_dir.path().join("token"),
        }
    }

    /// The next stream after its hello, welcomed.
    pub(crate) async fn greet(&mut self) -> (Conversation, proto::Hello) {
        let opened = tokio::time::timeout(PATIENCE, self.streams.recv()).await;
        let mut stream = opened.expect("a stream in time").unwrap();
        let from_server::Kind::Hello(hello) = stream.hear().await else {
            panic!("no hello");
        };
        let welcome = proto::Welcome {
            protocol: 1,
            heartbeat_seconds: 15,
        };
        stream.say(from_operator::Kind::Welcome(welcome)).await;
        (stream, hello)
    }
}

impl Conversation {
    async fn say(&self, kind: from_operator::Kind) {
        self.outgoing.send(Ok(FromOperator { kind: Some(kind) })).await.unwrap();
    }

    async fn hear(&mut self) -> from_server::Kind {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.incoming.message())
                .await
                .expect("a word in time");
            match message.unwrap().expect("an open stream").kind.unwrap() {
                from_server::Kind::Heartbeat(_) => {}
                other => return other,
            }
        }
    }

    /// Sends `artefact`, its pieces changed by `alter`, and returns the answer.
    pub(crate) async fn push(&mut self, artefact: &Artefact, alter: impl Fn(&mut proto::Piece)) -> proto::Result {
        let pieces = artefact.entries().into_iter().map(|(id, entry)| {
            let mut piece = proto::Piece {
                id: id.to_string(),
                current: entry.current.bytes().to_vec(),
                former: entry
                    .former
                    .as_ref()
                    .map(|former| former.bytes().to_vec())
                    .unwrap_or_default(),
            };
            alter(&mut piece);
            piece
        });
        let update = proto::Update {
            manifest: artefact.manifest().encode(),
            pieces: pieces.collect(),
            removed: Vec::new(),
        };
        self.say(from_operator::Kind::Update(update)).await;
        self.commit(artefact).await
    }

    async fn commit(&mut self, artefact: &Artefact) -> proto::Result {
        let commit = proto::Commit {
            head: Some(artefact.head().into()),
            content: artefact.manifest().content.as_bytes().to_vec(),
        };
        self.say(from_operator::Kind::Commit(commit)).await;
        match self.hear().await {
            from_server::Kind::Result(result) => result,
            other => panic!("no result but {other:?}"),
        }
    }
}

fn head(result: &proto::Result) -> Option<Head> {
    result.head.map(Into::into)
}

#[tokio::test]
async fn boots_from_files_with_nobody_to_dial() {
    let folder = tempfile::tempdir().unwrap();
    let artefact = commit(None, both("One"));
    write(folder.path(), &artefact);
    let handle = ConfigFeed::start(settings(folder.path())).await;
    let status = handle.status().borrow().clone();
    assert!(status.is_ready());
    assert_eq!((status.head, status.source), (Some(artefact.head()), Source::Mount));
    assert_eq!(served_name(&handle, "one").as_deref(), Some("One"));

    let next = commit(Some(&artefact), both("Changed"));
    write(folder.path(), &next);
    wait_for(&handle, |status| status.head == Some(next.head())).await;
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Changed"));
}

/// What a kubelet does: a folder of its own for each state, and one link that is swapped. The state is a manifest and
/// the shards of some artefacts.
fn mount(volume: &Path, state: &str, manifest: &Artefact, shards: &[&Artefact]) {
    let folder = volume.join(state);
    std::fs::create_dir(&folder).unwrap();
    for artefact in shards.iter().chain([&manifest]) {
        write(&folder, artefact);
    }
    std::os::unix::fs::symlink(state, volume.join("..data.new")).unwrap();
    std::fs::rename(volume.join("..data.new"), volume.join("..data")).unwrap();
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name();
        // Those that are there already lead to the new state.
        let _ = std::os::unix::fs::symlink(Path::new("..data").join(&name), volume.join(&name));
    }
}

#[tokio::test]
async fn boots_from_a_projected_volume_and_follows_it_while_no_operator_answers() {
    let volume = tempfile::tempdir().unwrap();
    let first = commit(None, both("One"));
    let second = commit(Some(&first), both("Changed"));
    mount(volume.path(), "..1", &first, &[]);
    let mut settings = settings(volume.path());
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.operator_addresses = vec![listener.local_addr().unwrap().to_string()];
    drop(listener);
    let handle = ConfigFeed::start(settings.clone()).await;
    assert_eq!(served_name(&handle, "one").as_deref(), Some("One"));
    wait_for(&handle, Status::is_ready).await;

    // Secrets of different age mount: shards of a commit that is not finished, beside the manifest of the former one.
    mount(volume.path(), "..2", &first, &[&second, &first]);
    std::fs::remove_dir_all(volume.path().join("..1")).unwrap();
    let later = ConfigFeed::start(settings).await;
    assert_eq!(served_name(&later, "one").as_deref(), Some("One"));

    mount(volume.path(), "..3", &second, &[&first]);
    std::fs::remove_dir_all(volume.path().join("..2")).unwrap();
    for handle in [handle, later] {
        wait_for(&handle, |status| status.head == Some(second.head())).await;
        assert_eq!(served_name(&handle, "one").as_deref(), Some("Changed"));
        let status = handle.status().borrow().clone();
        assert_eq!((status.source, status.connected), (Source::Mount, 0));
    }
}

#[tokio::test]
async fn every_operator_is_followed_and_one_that_goes_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut operators = Operator::start().await;
    let mut settings = operators.settings(folder.path());
    settings.operator_addresses = operators.addresses.to_vec();
    let handle = ConfigFeed::start(settings).await;
    let (mut one, _) = operators.greet().await;
    let (mut other, _) = operators.greet().await;
    let first = commit(None, both("One"));
    for stream in [&mut one, &mut other] {
        assert_eq!(stream.push(&first, |_| {}).await.refused, None);
    }
    wait_for(&handle, |status| status.connected == 2 && status.is_ready()).await;

    drop(one);
    let second = commit(Some(&first), both("Changed"));
    assert_eq!(other.push(&second, |_| {}).await.refused, None);
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Changed"));
    // It is dialled again, says what it holds, and a late operator's older word is not taken.
    let (mut again, hello) = operators.greet().await;
    assert_eq!(hello.head.map(Into::into), Some(second.head()));
    assert_eq!(again.push(&first, |_| {}).await.refused.unwrap().code, "Replayed");
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Changed"));
}

#[tokio::test]
async fn torn_files_are_reported_and_not_served_until_they_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let artefact = commit(None, both("One"));
    write(folder.path(), &artefact);
    let (shard, bytes) = artefact.to_files().into_iter().next().unwrap();
    std::fs::write(folder.path().join(&shard), b"torn").unwrap();
    let handle = ConfigFeed::start(settings(folder.path())).await;
    let status = handle.status().borrow().clone();
    assert!(!status.is_ready());
    assert!(status.problem.unwrap().contains("does not have the hash"));
    assert_eq!(served_name(&handle, "one"), None);
    std::fs::write(folder.path().join(&shard), bytes).unwrap();
    wait_for(&handle, Status::is_ready).await;
}

#[tokio::test]
async fn files_that_are_not_what_their_manifest_counts_and_hashes_are_not_served() {
    let artefact = commit(None, both("One"));
    let changes: [fn(&mut Manifest); 2] = [
        |manifest| manifest.counts.realms += 1,
        |manifest| manifest.content = Hash::of(b"other"),
    ];
    for change in changes {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &artefact);
        let mut manifest = artefact.manifest().clone();
        change(&mut manifest);
        std::fs::write(folder.path().join(MANIFEST_FILE), manifest.encode()).unwrap();
        let handle = ConfigFeed::start(settings(folder.path())).await;
        let status = handle.status().borrow().clone();
        assert!(status.problem.unwrap().contains("does not add up"));
        assert_eq!((status.head, served_name(&handle, "one")), (None, None));
    }
}

#[tokio::test]
async fn without_configuration_a_server_is_never_ready() {
    let folder = tempfile::tempdir().unwrap();
    let handle = ConfigFeed::start(settings(folder.path())).await;
    let status = handle.status().borrow().clone();
    assert!(status.settled && !status.is_ready());
    assert_eq!(handle.served().load().realms().count(), 0);
}

#[tokio::test]
async fn another_fleets_files_are_not_served() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &commit(None, both("One")));
    let mut settings = settings(folder.path());
    settings.fleet = "login/other".parse().unwrap();
    let handle = ConfigFeed::start(settings).await;
    let status = handle.status().borrow().clone();
    assert_eq!(status.head, None);
    assert!(status.problem.unwrap().contains("belongs to fleet"));
}

#[tokio::test]
async fn an_update_is_applied_answered_and_confirmed_without_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = Operator::start().await;
    let handle = ConfigFeed::start(operator.settings(folder.path())).await;
    let (mut stream, hello) = operator.greet().await;
    assert_eq!((hello.token.as_str(), hello.head), ("a-token", None));
    let artefact = commit(None, both("One"));
    let result = stream.push(&artefact, |_| {}).await;
    assert_eq!((head(&result), result.refused), (Some(artefact.head()), None));
    let status = wait_for(&handle, Status::is_ready).await;
    assert_eq!((status.source, status.connected), (Source::Stream, 1));

    // The same once more, as from a second operator, leaves everything as it is.
    let before = handle.served().load_full();
    let again = stream.push(&artefact, |_| {}).await;
    assert_eq!(again.refused, None);
    assert_eq!(stream.commit(&artefact).await.refused, None);
    assert!(Arc::ptr_eq(&before, &handle.served().load_full()));
}

#[tokio::test]
async fn a_replayed_lower_generation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = Operator::start().await;
    let handle = ConfigFeed::start(operator.settings(folder.path())).await;
    let (mut stream, _) = operator.greet().await;
    let first = commit(None, both("One"));
    let second = commit(Some(&first), both("Changed"));
    assert_eq!(stream.push(&second, |_| {}).await.refused, None);
    let replayed = stream.push(&first, |_| {}).await;
    assert_eq!(replayed.refused.as_ref().unwrap().code, "Replayed");
    assert_eq!(head(&replayed), Some(second.head()));
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Changed"));
}

#[tokio::test]
async fn a_corrupted_chunk_is_refused_and_the_last_good_configuration_keeps_serving() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = Operator::start().await;
    let first = commit(None, both("One"));
    write(folder.path(), &first);
    let handle = ConfigFeed::start(operator.settings(folder.path())).await;
    let (mut stream, hello) = operator.greet().await;
    assert_eq!(hello.held.len(), 4);
    let second = commit(Some(&first), both("Changed"));
    let refused = stream
        .push(&second, |piece| {
            if let Some(byte) = piece.current.last_mut() {
                *byte ^= 1;
            }
        })
        .await;
    assert_eq!(refused.refused.as_ref().unwrap().code, "WrongContent");
    assert_eq!(head(&refused), Some(first.head()));
    assert_eq!(served_name(&handle, "one").as_deref(), Some("One"));
    // The server dials again and says what it really holds.
    let (mut stream, hello) = operator.greet().await;
    assert_eq!(hello.head.map(Into::into), Some(first.head()));
    assert_eq!(stream.push(&second, |_| {}).await.refused, None);
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Changed"));
}

#[tokio::test]
async fn a_missing_active_key_rejects_that_realm_alone_and_a_served_one_keeps_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = Operator::start().await;
    let handle = ConfigFeed::start(operator.settings(folder.path())).await;
    let (mut stream, _) = operator.greet().await;
    let mut desired = both("One");
    desired[1] = keys("one", KeyStage::Published);
    let first = commit(None, desired);
    let result = stream.push(&first, |_| {}).await;
    assert_eq!(result.refused, None);
    assert_eq!(result.rejected.len(), 1);
    assert_eq!(result.rejected[0].code, "NoActiveKey");
    assert_eq!(
        result.rejected[0].id,
        format!("keys/{}", RealmId::of_issuer(&issuer("one")))
    );
    assert_eq!(served_name(&handle, "one"), None);
    assert_eq!(served_name(&handle, "two").as_deref(), Some("Two"));

    // Healed, then broken again: now there is a former version to go on with, and the rest still changes.
    let second = commit(Some(&first), both("Healed"));
    assert!(stream.push(&second, |_| {}).await.rejected.is_empty());
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Healed"));
    let mut desired = both("Renamed");
    desired[1] = keys("one", KeyStage::Retired);
    let third = commit(Some(&second), desired);
    let result = stream.push(&third, |_| {}).await;
    assert_eq!(result.rejected.len(), 1);
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Renamed"));
    assert_eq!(
        wait_for(&handle, |status| status.rejected == 1).await.head,
        Some(third.head())
    );
}

#[tokio::test]
async fn an_operator_of_another_authority_is_not_listened_to() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &commit(None, both("One")));
    let mut stranger = Operator::start().await;
    let trusted = Operator::start().await;
    let mut settings = stranger.settings(folder.path());
    settings.peer_dir = Some(trusted.peer_dir.path().to_owned());
    let handle = ConfigFeed::start(settings).await;
    // Ready from the files once the dial has failed, without a stream.
    let status = wait_for(&handle, Status::is_ready).await;
    assert_eq!((status.connected, status.source), (0, Source::Mount));
    assert!(stranger.streams.try_recv().is_err());
}
