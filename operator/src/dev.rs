//! `nauthera-operator dev`: the whole platform on one machine, from a folder of YAML files.
//!
//! The operator plays the cluster: it watches the folder, compiles and delivers over the same mutual TLS stream,
//! starts the auth servers behind one address, and prints what `kubectl get` would. It never carries people's traffic.

mod core;
mod demo;
mod http;
mod link;
mod relying_party;
mod report;
mod servers;
mod state;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crds::admission::Admission;
use oidc::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use url::Url;

pub use self::core::{Changes, Core, CycleError};
pub use servers::ServerError;
pub use state::{State, StateError};

use crate::pki::PkiError;
use crate::publish::TlsError;
use crate::world::folder::{self, Folder, ReadError};
use crate::world::{ObjectId, ObjectKey};
use demo::Demo;
use link::Link;
use servers::Common;
use watch::Watch;

/// How often servers are looked after while something is on its way, and at rest.
const BUSY: Duration = Duration::from_millis(100);
const AT_REST: Duration = Duration::from_millis(500);

/// How long the first start may take before the state of things is printed anyway.
const START: Duration = Duration::from_secs(30);

/// Key stages and graces move with time alone.
const TICK: Duration = Duration::from_secs(20);

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
    let path = state_folder(options)?;
    let _removal = options.ephemeral.then(|| Removal(path.clone()));
    // Nothing outlives a start that is cut short: servers are started by the loop only.
    let mut running = tokio::select! {
        running = Running::start(options, &path, &admission, out) => running?,
        () = stop.asked() => return Ok(()),
    };
    let result = tokio::select! {
        result = serve(&mut running, options, &admission, out) => result,
        () = stop.asked() => Ok(()),
    };
    // The terminal may be gone; the servers have to be stopped all the same.
    let _ = writeln!(out, "\nstopping").and_then(|()| out.flush());
    running.demo.stopped.cancel();
    running.link.shut_down().await;
    result
}

/// Removes the state folder at the end, whatever the end is.
struct Removal(PathBuf);

impl Drop for Removal {
    fn drop(&mut self) {
        // It may not have come into being.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Everything that runs.
struct Running {
    core: Core,
    link: Link,
    watch: Watch,
    demo: Demo,
}

impl Running {
    async fn start(
        options: &Options,
        path: &Path,
        admission: &Admission,
        out: &mut (impl Write + Send),
    ) -> Result<Self, DevError> {
        let roots = [options.folder.clone()];
        let program = Common::find_program()?;
        // Watched before it is read, so that no edit falls in between.
        let watch = Watch::new(&roots).map_err(|error| match folder::read(&roots, admission) {
            // The system's own words about a missing folder are better than the watcher's.
            Err(unreadable) => DevError::Read(unreadable),
            Ok(_) => DevError::Watch(error),
        })?;
        let mut folder = folder::read(&roots, admission)?;
        print_faults(out, &folder, options)?;
        let fleet = only_fleet(&folder, &options.folder)?;
        let state = State::open(path)?;
        folder.presume(state.known());
        let leftovers = servers::stop_leftovers(&state.root().join("servers")).await;
        if leftovers > 0 {
            writeln!(out, "stopped {leftovers} auth server(s) of an earlier run")?;
        }
        servers::shared_addresses(options.listen)?;
        writeln!(out, "{}: {}", options.folder.display(), report::count(&folder))?;
        if state.is_new() {
            writeln!(out, "generating keys and Secrets")?;
        }
        out.flush()?;
        let mut core = Core::new(state, folder)?;
        core.step(&BTreeMap::new(), now())?;
        let link = Link::new(&core, &fleet, &program, options).await?;
        link.common.migrate().await?;
        writeln!(out, "adding the person {} to every realm", ADA.username)?;
        out.flush()?;
        for (realm, failure) in link.ensure_people(&core).await {
            writeln!(out, "demo person of {realm}: {failure}")?;
        }
        let number = link.servers.len();
        writeln!(out, "starting {number} auth servers at {}", options.listen)?;
        out.flush()?;
        let demo = Demo::new(&core).await?;
        Ok(Self {
            core,
            link,
            watch,
            demo,
        })
    }

    /// Whether there is nothing to wait for.
    fn is_settled(&self) -> bool {
        let mut verdicts = self.core.verdicts().values();
        verdicts.all(|verdict| verdict.is_ready() || verdict.is_stalled())
            && self.link.servers.iter().all(|server| server.is_ready)
    }
}

/// The loop: something happened → resolve, commit, report.
async fn serve(
    running: &mut Running,
    options: &Options,
    admission: &Admission,
    out: &mut (impl Write + Send),
) -> Result<(), DevError> {
    let mut acks = running.link.publisher.acks();
    let deadline = Instant::now() + START;
    let mut announced = false;
    loop {
        let acknowledgements = running.link.acknowledgements();
        let changes = running.core.step(&acknowledgements, now())?;
        if changes.committed.contains(&running.link.key) {
            running.link.publish(&running.core);
        }
        running.link.renew()?;
        running.demo.register(&running.core);
        let settled = running.is_settled();
        if announced {
            for id in &changes.verdicts {
                writeln!(out, "{}", report::line(id, running.core.verdicts().get(id)))?;
            }
        } else if settled || Instant::now() >= deadline {
            announced = true;
            for line in running.link.waiting().await {
                writeln!(out, "{line}")?;
            }
            announce(running, options, out)?;
        }
        out.flush()?;
        let pause = if settled { AT_REST } else { BUSY };
        let tick = tokio::time::sleep(TICK);
        tokio::pin!(tick);
        loop {
            tokio::select! {
                () = running.watch.changed() => {
                    reload(running, options, admission, out).await?;
                    break;
                }
                Ok(()) = acks.changed() => break,
                () = tokio::time::sleep(pause) => {
                    let has_changed = running.link.look_after(out).await?;
                    out.flush()?;
                    if has_changed || !announced && Instant::now() >= deadline {
                        break;
                    }
                }
                () = &mut tick => break,
            }
        }
    }
}

async fn reload(
    running: &mut Running,
    options: &Options,
    admission: &Admission,
    out: &mut (impl Write + Send),
) -> Result<(), DevError> {
    let Running { core, link, .. } = running;
    let mut folder = match folder::read(std::slice::from_ref(&options.folder), admission) {
        Ok(folder) => folder,
        // What was read last goes on; the folder may be in the middle of a checkout.
        Err(error) => {
            writeln!(out, "{error}: {}", error.source)?;
            return Ok(());
        }
    };
    let kept = folder.keep(core.folder());
    folder.presume(core.folder().presumed.iter().cloned());
    if folder.faults != core.folder().faults {
        print_faults(out, &folder, options)?;
        if !kept.is_empty() {
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            writeln!(out, "  unchanged until the file is corrected: {}", kept.join(", "))?;
        }
    }
    for file in core.folder().unreadable.difference(&folder.unreadable) {
        writeln!(out, "{}: can be read again", report::shown(file, options))?;
    }
    let issuers = |folder: &Folder| -> BTreeSet<String> {
        let realms = folder.world.realms.values();
        realms.map(|realm| realm.spec.issuer.clone()).collect()
    };
    let is_new = !issuers(&folder).is_subset(&issuers(core.folder()));
    core.set_folder(folder);
    if is_new {
        for (realm, failure) in link.ensure_people(core).await {
            writeln!(out, "demo person of {realm}: {failure}")?;
        }
    }
    Ok(())
}

fn print_faults(out: &mut impl Write, folder: &Folder, options: &Options) -> io::Result<()> {
    for line in report::faults(folder, options) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn only_fleet(folder: &Folder, path: &Path) -> Result<ObjectKey, DevError> {
    let fleets: Vec<&ObjectKey> = folder.world.auth_servers.keys().collect();
    let path = path.display();
    let is_auth_server = |id: &&ObjectId| id.kind == crds::manifests::Kind::AuthServer;
    let broken = folder.world.undecodable.keys().find(is_auth_server);
    match (fleets.as_slice(), broken) {
        ([fleet], _) => Ok((*fleet).clone()),
        ([], Some(broken)) => Err(DevError::Fleet(format!("{broken} in {path} has to be corrected first"))),
        ([], None) => Err(DevError::Fleet(format!(
            "no AuthServer in {path}: add one; config/samples/1-authserver.yaml is an example"
        ))),
        (several, _) => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            let names = names.join(", ");
            Err(DevError::Fleet(format!(
                "{path} holds {} AuthServers ({names}), and dev runs one: keep one of them in this folder",
                several.len()
            )))
        }
    }
}

/// The folder that was named, a temporary one, or the one that belongs to the folder with the custom resources.
fn state_folder(options: &Options) -> Result<PathBuf, DevError> {
    match &options.state {
        Some(path) => Ok(path.clone()),
        None if options.ephemeral => Ok(std::env::temp_dir().join(format!("nauthera-dev-{}", uuid::Uuid::new_v4()))),
        None => default_state(&options.folder),
    }
}

/// `$XDG_STATE_HOME/nauthera/dev/<hash of the folder's path>`: another folder, another state.
fn default_state(folder: &Path) -> Result<PathBuf, DevError> {
    let folder = std::fs::canonicalize(folder).map_err(|source| ReadError {
        path: folder.to_owned(),
        source,
    })?;
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

/// The table of everything, and what to do next.
fn announce(running: &Running, options: &Options, out: &mut impl Write) -> Result<(), DevError> {
    let Running { core, link, demo, .. } = running;
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
