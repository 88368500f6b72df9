//! A fleet for one test: its own database, its configuration as files in a folder, and servers on ports of their own.

use std::path::Path;
use std::time::{Duration, Instant};

use auth_server::app::{App, Running, StartError};
use auth_server::password::hash_now;
use auth_server::settings::{OperatorLink, Settings};
use auth_server::store::Database;
use auth_server::store::people::NewPerson;
use oidc::config::{Client, Resource};
use oidc::id::PersonId;
use oidc::person::{Address, Profile};
use oidc::{Secret, Timestamp, testing};
use snapshot::{Artefact, Fleet, Inputs};

use crate::browser::Browser;
use crate::database::TestDatabase;

/// The user name and password of the person in every fleet.
pub(crate) const ADA: (&str, &str) = ("ada", "correct horse battery staple");

/// One fleet: a database, a configuration folder, and what the next server is started with.
pub(crate) struct TestFleet {
    database: TestDatabase,
    folder: tempfile::TempDir,
    resources: Vec<Resource>,
    artefact: Option<Artefact>,
    max_staleness: Duration,
    trusted_proxies: Vec<ipnet::IpNet>,
    operator: Option<OperatorLink>,
}

impl TestFleet {
    /// A fleet on `database` with the realm of [`testing::realm`], `clients`, and Ada.
    pub(crate) async fn new(database: TestDatabase, clients: impl IntoIterator<Item = Client>) -> Self {
        let mut resources = vec![
            Resource::Realm(testing::realm()),
            Resource::Keys(testing::key_set(testing::ISSUER)),
        ];
        resources.extend(clients.into_iter().map(Resource::Client));
        let mut fleet = Self {
            database,
            folder: tempfile::tempdir().unwrap(),
            resources: Vec::new(),
            artefact: None,
            max_staleness: Duration::from_mins(1),
            trusted_proxies: Vec::new(),
            operator: None,
        };
        fleet.configure(resources);
        fleet.add_ada().await;
        fleet
    }

    /// Replaces the configuration that the next server starts with.
    pub(crate) fn configure(&mut self, resources: Vec<Resource>) {
        self.resources.clone_from(&resources);
        let inputs = Inputs::new(fleet(), resources, now());
        let step = Artefact::next(self.artefact.as_ref(), inputs);
        assert!(step.excluded.is_empty(), "{:?}", step.excluded);
        let folder = self.config_dir();
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in step.artefact.to_files() {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        self.artefact = Some(step.artefact);
    }

    /// Adds resources to the configuration that the next server starts with.
    pub(crate) fn add(&mut self, more: impl IntoIterator<Item = Resource>) {
        let mut resources = self.resources.clone();
        resources.extend(more);
        self.configure(resources);
    }

    /// Replaces the resource of the same kind and realm in the configuration that the next server starts with.
    pub(crate) fn replace(&mut self, resource: Resource) {
        let mut resources = self.resources.clone();
        let same = |other: &Resource| match (other, &resource) {
            (Resource::Realm(other), Resource::Realm(realm)) => other.id == realm.id,
            (Resource::Keys(other), Resource::Keys(keys)) => other.realm == keys.realm,
            (Resource::Client(other), Resource::Client(client)) => {
                (other.realm, &other.client_id) == (client.realm, &client.client_id)
            }
            (Resource::Realm(_) | Resource::Keys(_) | Resource::Client(_), _) => false,
        };
        resources.retain(|other| !same(other));
        resources.push(resource);
        self.configure(resources);
    }

    /// Lets proxies of these networks speak for others.
    pub(crate) fn trust(&mut self, network: &str) {
        self.trusted_proxies.push(network.parse().unwrap());
    }

    /// Lets servers follow an operator.
    pub(crate) fn follow(&mut self, operator: OperatorLink) {
        self.operator = Some(operator);
    }

    /// Lets knowledge of revocations be only so old.
    pub(crate) fn set_max_staleness(&mut self, max_staleness: Duration) {
        self.max_staleness = max_staleness;
    }

    /// The database.
    pub(crate) fn database(&self) -> &dyn Database {
        &*self.database.database
    }

    /// The database's URL.
    pub(crate) fn database_url(&self) -> &str {
        &self.database.url
    }

    /// The folder that servers read the configuration from.
    pub(crate) fn config_dir(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("config")
    }

    /// Starts a server and waits until it is ready.
    pub(crate) async fn start(&self) -> Server {
        let server = self.start_unready().await;
        server.wait_until_ready().await;
        server
    }

    /// Starts a server that reaches the database at `database_url`, and waits until it is ready.
    pub(crate) async fn start_on(&self, database_url: &str) -> Server {
        let server = self.try_start_on(database_url).await.unwrap();
        server.wait_until_ready().await;
        server
    }

    /// Starts a server.
    pub(crate) async fn start_unready(&self) -> Server {
        self.try_start_on(&self.database.url).await.unwrap()
    }

    /// Starts a server that reaches the database at `database_url`, or says why not.
    pub(crate) async fn try_start_on(&self, database_url: &str) -> Result<Server, StartError> {
        let settings = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            health_listen: "127.0.0.1:0".parse().unwrap(),
            database_url: Secret::new(database_url.to_owned()),
            database_reread: None,
            database_pool: 10,
            config_dir: self.config_dir(),
            operator: self.operator.clone(),
            fleet: fleet(),
            trusted_proxies: self.trusted_proxies.clone(),
            max_staleness: self.max_staleness,
            drain_timeout: Duration::from_secs(5),
        };
        let running = App::start(settings).await?;
        Ok(Server {
            http: client(),
            base: format!("http://{}", running.addresses()[0]),
            health: format!("http://{}", running.health_address()),
            running,
        })
    }

    /// Adds a person of the first realm with nothing but a user name and a password.
    pub(crate) async fn add_person(&self, username: &str, password: &str) {
        let hash = hash_now(&Secret::new(password.to_owned())).unwrap();
        let person = NewPerson {
            id: PersonId::generate(now(), &mut rand::rng()),
            username,
            groups: &[],
            profile: &Profile::default(),
            password_hash: Some(&hash),
            now: now(),
        };
        let realm = testing::realm().id;
        self.database.database.create_person(realm, person).await.unwrap();
    }

    async fn add_ada(&self) {
        let text = |value: &str| Some(value.to_owned());
        let profile = Profile {
            name: text("Ada Lovelace"),
            given_name: text("Ada"),
            family_name: text("Lovelace"),
            email: text("ada@example.com"),
            email_verified: true,
            phone_number: text("+441234567890"),
            address: Some(Address {
                country: text("United Kingdom"),
                ..Address::default()
            }),
            ..Profile::default()
        };
        let hash = hash_now(&Secret::new(ADA.1.to_owned())).unwrap();
        let person = NewPerson {
            id: PersonId::generate(now(), &mut rand::rng()),
            username: ADA.0,
            groups: &["engineers".to_owned()],
            profile: &profile,
            password_hash: Some(&hash),
            now: now(),
        };
        let realm = testing::realm().id;
        self.database.database.create_person(realm, person).await.unwrap();
    }
}

/// A server that runs in this process, on ports of its own.
pub(crate) struct Server {
    http: reqwest::Client,
    base: String,
    health: String,
    running: Running,
}

impl Server {
    /// A browser without cookies.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.http.clone(), &self.base)
    }

    /// The client behind its browsers.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A probe's status and body.
    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        self.prober().probe(path).await
    }

    /// What asks for its probes also while it stops.
    pub(crate) fn prober(&self) -> Prober {
        Prober {
            http: self.http.clone(),
            health: self.health.clone(),
        }
    }

    /// A number from the metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, body) = self.probe("/metrics").await;
        let line = body.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {body}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until the readiness probe passes.
    pub(crate) async fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (status, body) = self.probe("/readyz").await;
            if status == 200 {
                return;
            }
            assert!(Instant::now() < deadline, "not ready: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Drains and stops.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

/// The probes of a server.
pub(crate) struct Prober {
    http: reqwest::Client,
    health: String,
}

impl Prober {
    /// A probe's status and body.
    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let response = self.http.get(format!("{}{path}", self.health)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

/// Waits until `condition` holds; panics after `limit`. How long it took.
pub(crate) async fn within(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    loop {
        if condition().await {
            return began.elapsed();
        }
        assert!(began.elapsed() < limit, "no {what} within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An HTTP client that follows no redirects and keeps neither cookies nor connections.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

/// The time.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap())
}

fn fleet() -> Fleet {
    Fleet::new("demo", "main").unwrap()
}
