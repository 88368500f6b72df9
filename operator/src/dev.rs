//! `nauthera-operator dev`: the whole platform on one machine, from a folder of YAML files.
//!
//! The operator plays the cluster: it watches the folder, compiles and delivers over the same mutual TLS stream,
//! starts the auth servers behind one address, and prints what `kubectl get` would. It never carries people's traffic.

mod core;
mod http;
mod relying_party;
mod report;
mod servers;
mod state;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crds::admission::Admission;
use crds::client::ClientType;
use oidc::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use snapshot::{Acknowledgements, Artefact, Fleet};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use self::core::{Changes, Core, CycleError};
pub use servers::ServerError;
pub use state::{State, StateError};

use crate::credentials;
use crate::pki::{Authority, Leaf, PkiError, write_folder};
use crate::publish::{Bearer, FleetFeed, Limits, Publisher, TlsError, TokenSigner};
use crate::resolve::Details;
use crate::world::ObjectKey;
use crate::world::folder::{self, Folder, ReadError};
use relying_party::{Registration, RelyingParty};
use servers::{Common, Event, Server};
use watch::Watch;

/// How often servers are looked after while something is on its way, and at rest.
const BUSY: Duration = Duration::from_millis(100);
const AT_REST: Duration = Duration::from_millis(500);

/// How long the first start may take before the state of things is printed anyway.
const START: Duration = Duration::from_secs(30);

/// Key stages and graces move with time alone.
const TICK: Duration = Duration::from_secs(20);

/// Lifetime of the tokens that prove which server a process is.
const TOKEN: Duration = Duration::from_hours(30 * 24);

/// What `dev` is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with the custom resources.
    pub folder: PathBuf,
    /// Where people reach the servers.
    pub listen: SocketAddr,
    /// The state folder; derived from the folder's path when absent.
    pub state: Option<PathBuf>,
    /// How many servers.
    pub replicas: usize,
    /// Whether the state folder is removed at the end.
    pub ephemeral: bool,
}

/// `dev` cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The folder cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The compile cycle failed.
    #[error(transparent)]
    Cycle(#[from] CycleError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The servers cannot be run.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The folder holds no AuthServer, or several.
    #[error("{0}")]
    Fleet(String),
    /// The link between operator and servers cannot be set up.
    #[error("cannot set up the link to the servers")]
    Pki(#[from] PkiError),
    /// The same, in TLS.
    #[error("cannot set up the link to the servers")]
    Tls(#[from] TlsError),
    /// No key for pod tokens.
    #[error("cannot make a signing key")]
    Key,
    /// The custom resource definitions are unusable: a defect.
    #[error(transparent)]
    Admission(#[from] crds::admission::AdmissionError),
    /// Files cannot be watched.
    #[error("cannot watch the folder")]
    Watch(#[from] notify::Error),
    /// Standard output, a socket or a signal cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A peer folder cannot be written.
    #[error(transparent)]
    Write(#[from] crate::pki::FolderError),
}

/// The person that every realm gets.
struct Person {
    username: &'static str,
    password: &'static str,
    email: &'static str,
    name: &'static str,
    given_name: &'static str,
    family_name: &'static str,
}

const ADA: Person = Person {
    username: "ada",
    password: "correct horse battery",
    email: "ada@example.com",
    name: "Ada Lovelace",
    given_name: "Ada",
    family_name: "Lovelace",
};

/// Runs until Ctrl-C or SIGTERM. Lines for people go to `out`.
pub async fn run(options: &Options, out: &mut (impl Write + Send)) -> Result<(), DevError> {
    let mut stop = Stop::new()?;
    let admission = Admission::new()?;
    let roots = [options.folder.clone()];
    let program = Common::find_program()?;
    // Watched before it is read, so that no edit falls in between.
    let mut watch = Watch::new(&roots)?;
    let folder = folder::read(&roots, &admission)?;
    print_faults(out, &folder, options)?;
    let fleet = only_fleet(&folder, &options.folder)?;
    let path = options
        .state
        .clone()
        .map_or_else(|| default_state(&options.folder), Ok)?;
    let state = State::open(&path)?;
    let leftovers = servers::stop_leftovers(&state.root().join("servers")).await;
    if leftovers > 0 {
        writeln!(out, "stopped {leftovers} auth server(s) of an earlier run")?;
    }
    let mut core = Core::new(state, folder)?;
    core.step(&BTreeMap::new(), now())?;
    let mut link = Link::new(&core, &fleet, &program, options).await?;
    link.common.migrate().await?;
    for (realm, failure) in link.ensure_people(&core).await {
        writeln!(out, "demo person of {realm}: {failure}")?;
    }
    writeln!(
        out,
        "starting {} auth servers at {}",
        link.servers.len(),
        options.listen
    )?;
    let demo = Demo::new(&core).await?;
    let result = tokio::select! {
        result = serve(&mut core, &mut link, &mut watch, &demo, options, &admission, out) => result,
        () = stop.asked() => Ok(()),
    };
    writeln!(out, "\nstopping")?;
    demo.stopped.cancel();
    link.shut_down().await;
    let root = core.state().root().to_owned();
    drop(core);
    if options.ephemeral {
        std::fs::remove_dir_all(root)?;
    }
    result
}

/// The loop: something happened → resolve, commit, report.
async fn serve(
    core: &mut Core,
    link: &mut Link,
    watch: &mut Watch,
    demo: &Demo,
    options: &Options,
    admission: &Admission,
    out: &mut (impl Write + Send),
) -> Result<(), DevError> {
    let mut acks = link.publisher.acks();
    let deadline = Instant::now() + START;
    let mut announced = false;
    loop {
        let changes = core.step(&link.acknowledgements(), now())?;
        if changes.committed.contains(&link.key) {
            link.publish(core);
        }
        demo.register(core);
        let settled = core
            .verdicts()
            .values()
            .all(|verdict| verdict.is_ready() || verdict.is_stalled())
            && link.servers.iter().all(|server| server.is_ready);
        if announced {
            for id in &changes.verdicts {
                writeln!(out, "{}", report::line(id, core.verdicts().get(id)))?;
            }
        } else if settled || Instant::now() >= deadline {
            announced = true;
            announce(core, link, demo, options, out)?;
        }
        out.flush()?;
        let pause = if settled { AT_REST } else { BUSY };
        let tick = tokio::time::sleep(TICK);
        tokio::pin!(tick);
        loop {
            tokio::select! {
                () = watch.changed() => {
                    reload(core, link, options, admission, out).await?;
                    break;
                }
                Ok(()) = acks.changed() => break,
                () = tokio::time::sleep(pause) => {
                    if link.look_after(out).await? || !announced && Instant::now() >= deadline {
                        break;
                    }
                }
                () = &mut tick => break,
            }
        }
    }
}

async fn reload(
    core: &mut Core,
    link: &Link,
    options: &Options,
    admission: &Admission,
    out: &mut (impl Write + Send),
) -> Result<(), DevError> {
    match folder::read(std::slice::from_ref(&options.folder), admission) {
        Ok(folder) => {
            if folder.faults != core.folder().faults {
                print_faults(out, &folder, options)?;
            }
            let issuers = |folder: &Folder| -> BTreeSet<String> {
                folder
                    .world
                    .realms
                    .values()
                    .map(|realm| realm.spec.issuer.clone())
                    .collect()
            };
            let is_new = issuers(&folder) != issuers(core.folder());
            core.set_folder(folder);
            if is_new {
                for (realm, failure) in link.ensure_people(core).await {
                    writeln!(out, "demo person of {realm}: {failure}")?;
                }
            }
        }
        // What was read last goes on; the folder may be in the middle of a checkout.
        Err(error) => writeln!(out, "{error}: {}", error.source)?,
    }
    Ok(())
}

fn print_faults(out: &mut impl Write, folder: &Folder, options: &Options) -> io::Result<()> {
    let root = options.folder.parent().unwrap_or(Path::new(""));
    for line in report::faults(folder, root) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn only_fleet(folder: &Folder, path: &Path) -> Result<ObjectKey, DevError> {
    let fleets: Vec<&ObjectKey> = folder.world.auth_servers.keys().collect();
    match fleets.as_slice() {
        [fleet] => Ok((*fleet).clone()),
        [] => Err(DevError::Fleet(format!(
            "no usable AuthServer in {}: add one, see config/samples",
            path.display()
        ))),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            let names = names.join(", ");
            Err(DevError::Fleet(format!(
                "{} holds several AuthServers ({names}): dev runs one",
                path.display()
            )))
        }
    }
}

/// `$XDG_STATE_HOME/nauthera/dev/<hash of the folder's path>`: another folder, another state.
fn default_state(folder: &Path) -> Result<PathBuf, DevError> {
    let folder = std::fs::canonicalize(folder)?;
    let hash = snapshot::Hash::of(folder.as_os_str().as_encoded_bytes()).to_string();
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            DevError::Fleet("neither XDG_STATE_HOME nor HOME is set: name a folder with --state-dir".to_owned())
        })?;
    Ok(base.join("nauthera/dev").join(hash.get(..16).unwrap_or_default()))
}

fn now() -> Timestamp {
    Timestamp::from_unix_millis(jiff::Timestamp::now().as_millisecond())
}

/// Ctrl-C, SIGTERM, or the terminal went away.
struct Stop([Signal; 3]);

impl Stop {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate, hangup] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self([signal(interrupt)?, signal(terminate)?, signal(hangup)?]))
    }

    async fn asked(&mut self) {
        let Self([interrupt, terminate, hangup]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The servers and the stream to them.
struct Link {
    key: ObjectKey,
    fleet: Fleet,
    common: Common,
    servers: Vec<Server>,
    publisher: Publisher,
    artefact: channel::Sender<Option<Arc<Artefact>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Link {
    async fn new(core: &Core, key: &ObjectKey, program: &Path, options: &Options) -> Result<Self, DevError> {
        let fleet = Fleet::new(&key.namespace, &key.name).map_err(|error| DevError::Fleet(error.to_string()))?;
        let shared = servers::shared_addresses(options.listen)?;
        let operators = Authority::generate("nauthera operators", now())?;
        let authority = Authority::generate(&key.to_string(), now())?;
        let tokens = TokenSigner::generate("nauthera-operator dev", "nauthera-operator").map_err(|_| DevError::Key)?;
        let publisher = Publisher::new(Limits::default(), &operators.issue_operator(now())?, tokens.verifier())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let operator = listener.local_addr()?;
        let (artefact, feed) = channel::channel(core.artefact(key).cloned().map(Arc::new));
        let certificate = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes());
        let authorities = vec![certificate.map_err(|_| PkiError::Read)?];
        publisher.set_fleet(
            &fleet,
            FleetFeed {
                artefact: feed,
                authorities,
            },
        )?;
        let serving = tokio::spawn({
            let publisher = publisher.clone();
            async move {
                if let Err(error) = publisher.serve(listener).await {
                    tracing::error!(%error, "configuration stream ended");
                }
            }
        });
        let staleness = core
            .folder()
            .world
            .auth_servers
            .get(key)
            .map(|server| server.spec.max_staleness.as_seconds());
        let common = Common {
            program: program.to_owned(),
            shared,
            database: core.state().database(),
            config: core.state().config_folder(key),
            operator,
            fleet: fleet.to_string(),
            max_staleness: format!("{}s", staleness.unwrap_or(60)),
        };
        let mut servers = Vec::new();
        for slot in 1..=options.replicas {
            let server = Server::new(core.state().server_folder(slot))?;
            let leaf = authority.issue_server(&fleet, now())?;
            credentials_of(&server, &leaf, operators.certificate_pem(), &tokens, key, slot)?;
            servers.push(server);
        }
        Ok(Self {
            key: key.clone(),
            fleet,
            common,
            servers,
            publisher,
            artefact,
            serving,
        })
    }

    /// Hands the committed configuration to the stream.
    fn publish(&self, core: &Core) {
        self.artefact
            .send_replace(core.artefact(&self.key).cloned().map(Arc::new));
    }

    fn acknowledgements(&self) -> BTreeMap<ObjectKey, Acknowledgements> {
        let ready = self
            .servers
            .iter()
            .filter(|server| server.is_ready)
            .map(|server| server.uid.clone())
            .collect();
        let acks = self.publisher.acks().borrow().clone();
        let answers = match acks.fleets.get(&self.fleet) {
            Some(answers) => answers.acknowledgements(ready),
            None => Acknowledgements {
                ready,
                ..Acknowledgements::default()
            },
        };
        BTreeMap::from([(self.key.clone(), answers)])
    }

    /// Looks after every server. Whether readiness changed anywhere.
    async fn look_after(&mut self, out: &mut (impl Write + Send)) -> Result<bool, DevError> {
        let before: Vec<bool> = self.servers.iter().map(|server| server.is_ready).collect();
        let probes = self.servers.iter_mut().map(|server| server.look_after(&self.common));
        let events: Vec<Event> = futures::future::try_join_all(probes).await?;
        for ((number, server), event) in (1..).zip(&self.servers).zip(events) {
            match event {
                Event::None => {}
                Event::Died {
                    status,
                    pause,
                    last_words,
                } => {
                    writeln!(out, "auth server {number} died ({status}); restarting{}", after(pause))?;
                    if let Some(words) = last_words {
                        writeln!(out, "  {words}\n  (all of it: {})", server.log_file().display())?;
                    }
                }
            }
        }
        let after: Vec<bool> = self.servers.iter().map(|server| server.is_ready).collect();
        Ok(before != after)
    }

    /// Adds the demo person to every realm. What fails is told, and keeps nothing else from running.
    async fn ensure_people(&self, core: &Core) -> Vec<(ObjectKey, ServerError)> {
        let mut failures = Vec::new();
        for (key, realm) in &core.folder().world.realms {
            if let Err(failure) = self.common.ensure_person(&realm.spec.issuer, &ADA).await {
                failures.push((key.clone(), failure));
            }
        }
        failures
    }

    async fn shut_down(self) {
        self.servers.iter().for_each(Server::stop);
        self.publisher.drain();
        futures::future::join_all(self.servers.into_iter().map(Server::stopped)).await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.serving).await;
    }
}

fn after(pause: Duration) -> String {
    if pause.is_zero() {
        String::new()
    } else {
        format!(" in {:.1} s", pause.as_secs_f32())
    }
}

/// What a pod would be given: certificate, trust and token.
fn credentials_of(
    server: &Server,
    leaf: &Leaf,
    trust: &str,
    tokens: &TokenSigner,
    key: &ObjectKey,
    slot: usize,
) -> Result<(), DevError> {
    write_folder(&server.peer_folder(), &leaf.files(trust))?;
    let bearer = Bearer {
        namespace: key.namespace.clone(),
        service_account: key.name.clone(),
        pod: format!("{}-{slot}", key.name),
        uid: server.uid.clone(),
    };
    let token = tokens.sign(&bearer, now(), TOKEN).map_err(|_| DevError::Key)?;
    let name = server
        .token_file()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(write_folder(&server.folder, &[(name, token.into_bytes())])?)
}

/// The demo application and where it listens.
struct Demo {
    party: Arc<RelyingParty>,
    address: SocketAddr,
    stopped: CancellationToken,
}

impl Demo {
    async fn new(core: &Core) -> Result<Self, DevError> {
        let wanted = candidate(core).and_then(|(_, _, uri)| uri.port()).unwrap_or(0);
        let listener = match TcpListener::bind(("127.0.0.1", wanted)).await {
            Ok(listener) => listener,
            // Any port of a loopback address matches a registered one (RFC 8252 §7.3).
            Err(_) => TcpListener::bind(("127.0.0.1", 0)).await?,
        };
        let demo = Self {
            party: Arc::default(),
            address: listener.local_addr()?,
            stopped: CancellationToken::new(),
        };
        tokio::spawn(Arc::clone(&demo.party).serve(listener, demo.stopped.clone()));
        Ok(demo)
    }

    fn register(&self, core: &Core) {
        self.party.register(self.registration(core));
    }

    fn registration(&self, core: &Core) -> Option<Registration> {
        let (key, client, mut redirect_uri) = candidate(core)?;
        let id = crate::world::ObjectId {
            kind: crds::manifests::Kind::Client,
            key: key.clone(),
        };
        let Details::Client {
            client_id,
            issuer,
            effective,
            ..
        } = &core.verdicts().get(&id)?.details
        else {
            return None;
        };
        redirect_uri.set_port(Some(self.address.port())).ok()?;
        let secret = core.secret(&credentials::secret_key(key, client));
        let secret = secret.and_then(|secret| secret.data.get("client-secret")).cloned();
        let own = format!("http://{}/", self.address);
        let post_logout = client
            .spec
            .post_logout_redirect_uris
            .iter()
            .find(|uri| uri.as_str() == own);
        Some(Registration {
            client_id: client_id.clone()?,
            client_secret: secret.filter(|_| client.spec.has_client_secret()),
            display_name: client.spec.display_name.clone().unwrap_or_else(|| key.name.clone()),
            issuer: issuer.clone()?,
            scopes: effective
                .as_ref()?
                .scopes
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            redirect_uri,
            post_logout_redirect_uri: post_logout.map(|_| own),
        })
    }
}

/// The first Client that is sent back to http://127.0.0.1: a web application, else any.
fn candidate(core: &Core) -> Option<(&ObjectKey, &crds::Client, Url)> {
    let mut found: Vec<_> = core
        .folder()
        .world
        .clients
        .iter()
        .filter_map(|(key, client)| {
            let uris = client
                .spec
                .redirect_uris
                .iter()
                .filter_map(|uri| Url::parse(uri.as_str()).ok());
            let uri = { uris }.find(|uri| uri.scheme() == "http" && uri.host_str() == Some("127.0.0.1"))?;
            Some((key, client.as_ref(), uri))
        })
        .collect();
    found.sort_by_key(|(key, client, _)| (client.spec.client_type != ClientType::Confidential, (*key).clone()));
    found.into_iter().next()
}

/// The table of everything, and what to do next.
fn announce(core: &Core, link: &Link, demo: &Demo, options: &Options, out: &mut impl Write) -> Result<(), DevError> {
    writeln!(out, "\n{}", report::table(core.verdicts().iter()))?;
    for (key, realm) in &core.folder().world.realms {
        let port = Url::parse(&realm.spec.issuer)
            .ok()
            .and_then(|issuer| issuer.port_or_known_default());
        if port != Some(options.listen.port()) {
            let (issuer, listen) = (&realm.spec.issuer, options.listen);
            writeln!(
                out,
                "note: Realm {key} has the issuer {issuer}, but the servers listen on {listen}\n"
            )?;
        }
    }
    let folder = options.folder.display();
    let own: Vec<String> = link.servers.iter().map(|server| server.own.to_string()).collect();
    if demo.registration(core).is_some() {
        writeln!(out, "  Sign in at   http://{}/", demo.address)?;
        writeln!(out, "  as           {}", ADA.username)?;
        writeln!(out, "  password     {}\n", ADA.password)?;
    } else {
        let hint = "add a Client with a redirect URI such as http://127.0.0.1:8090/callback to see a login";
        writeln!(
            out,
            "  {hint}\n  (every realm has the person {}, password \"{}\")\n",
            ADA.username, ADA.password
        )?;
    }
    writeln!(
        out,
        "  Edit a file  {folder}: a change is live a moment after it is saved"
    )?;
    writeln!(
        out,
        "  Servers      {} (each also alone: {})",
        options.listen,
        own.join(", ")
    )?;
    writeln!(
        out,
        "  State        {} (Secrets, people, logs)",
        core.state().root().display()
    )?;
    writeln!(out, "  Stop         Ctrl-C\n")?;
    Ok(())
}
