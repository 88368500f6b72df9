//! A fleet for one test: its own database, its configuration as files in a folder, and servers on ports of their own.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use auth_server::app::{App, Running};
use auth_server::password::hash_now;
use auth_server::settings::Settings;
use auth_server::store::people::NewPerson;
use oidc::config::{Client, Resource};
use oidc::id::PersonId;
use oidc::person::{Address, Profile};
use oidc::{Secret, Timestamp, testing};
use snapshot::{Acknowledgements, Artefact, Fleet, Inputs, ServerVersion};

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
            max_staleness: Duration::from_secs(60),
        };
        fleet.configure(resources);
        fleet.add_ada().await;
        fleet
    }

    /// Replaces the configuration that the next server starts with.
    pub(crate) fn configure(&mut self, resources: Vec<Resource>) {
        self.resources.clone_from(&resources);
        let inputs = Inputs {
            fleet: fleet(),
            minimum_server: ServerVersion::current(),
            desired: resources,
            erase: BTreeSet::new(),
            acknowledgements: Acknowledgements::default(),
            shrink: None,
            now: now(),
        };
        let step = Artefact::next(self.artefact.as_ref(), inputs);
        assert!(step.excluded.is_empty(), "{:?}", step.excluded);
        let folder = self.config_dir();
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in step.artefact.to_files() {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        self.artefact = Some(step.artefact);
    }

    /// The resources of the configuration.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        self.resources.clone()
    }

    /// Lets knowledge of revocations be only so old.
    pub(crate) fn set_max_staleness(&mut self, max_staleness: Duration) {
        self.max_staleness = max_staleness;
    }

    /// The database's URL.
    pub(crate) fn database_url(&self) -> &str {
        &self.database.url
    }

    fn config_dir(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("config")
    }

    /// Starts a server and waits until it is ready.
    pub(crate) async fn start(&self) -> Server {
        let server = self.start_unready().await;
        server.wait_until_ready().await;
        server
    }

    /// Starts a server.
    pub(crate) async fn start_unready(&self) -> Server {
        let settings = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            health_listen: "127.0.0.1:0".parse().unwrap(),
            database_url: Secret::new(self.database.url.clone()),
            config_dir: self.config_dir(),
            operator: None,
            fleet: fleet(),
            trusted_proxies: Vec::new(),
            max_staleness: self.max_staleness,
            drain_timeout: Duration::from_secs(2),
        };
        let running = App::start(settings).await.unwrap();
        Server {
            base: format!("http://{}", running.addresses()[0]),
            health: format!("http://{}", running.health_address()),
            running,
        }
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
    base: String,
    health: String,
    running: Running,
}

impl Server {
    /// A browser without cookies.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A probe's status and body.
    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let response = client().get(format!("{}{path}", self.health)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
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

/// An HTTP client that follows no redirects and keeps no cookies.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
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
