//! Databases for tests: each caller gets a migrated one of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use auth_server::store::{self, Database, DatabaseSettings};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, watch};
use url::Url;

/// A database of a test.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    pub(crate) database: Arc<dyn Database>,
    _folder: Option<TempDir>,
}

impl TestDatabase {
    /// Opened once more, as another replica would.
    pub(crate) fn replica(&self) -> Arc<dyn Database> {
        open(&self.url)
    }
}

pub(crate) fn open(url: &str) -> Arc<dyn Database> {
    store::open(&DatabaseSettings::new(url)).unwrap()
}

/// A new SQLite file.
pub(crate) async fn sqlite() -> TestDatabase {
    let made = empty_sqlite();
    made.database.migrate().await.unwrap();
    made
}

/// A new SQLite file without schema.
pub(crate) fn empty_sqlite() -> TestDatabase {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("store.db");
    let url = format!("sqlite://{}", path.display());
    TestDatabase {
        database: open(&url),
        url,
        _folder: Some(folder),
    }
}

/// The superuser's URL of the PostgreSQL that the test run started.
pub(crate) fn postgres_server() -> Url {
    let url = std::env::var("NAUTHERA_TEST_POSTGRES").expect(
        "NAUTHERA_TEST_POSTGRES is not set: run the tests by `make test`, or e2e/tools/with-postgres cargo test",
    );
    Url::parse(&url).expect("NAUTHERA_TEST_POSTGRES is a URL")
}

/// A statement as the superuser.
pub(crate) async fn as_superuser(url: &Url, statement: &str) {
    let (client, connection) = tokio_postgres::connect(url.as_str(), tokio_postgres::NoTls)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn named(server: &Url, name: &str) -> Url {
    let mut url = server.clone();
    url.set_path(name);
    url
}

/// A new PostgreSQL database without schema.
pub(crate) async fn empty_postgres() -> TestDatabase {
    let (server, name) = (postgres_server(), name());
    as_superuser(&server, &format!("create database {name}")).await;
    let url = named(&server, &name).to_string();
    TestDatabase {
        database: open(&url),
        url,
        _folder: None,
    }
}

/// A new PostgreSQL database, cloned from a template that was migrated once.
pub(crate) async fn postgres() -> TestDatabase {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let server = postgres_server();
    let template = TEMPLATE
        .get_or_init(async || {
            let name = format!("template_{}", std::process::id());
            as_superuser(&server, &format!("create database {name}")).await;
            open(named(&server, &name).as_str()).migrate().await.unwrap();
            name
        })
        .await;
    let name = name();
    as_superuser(&server, &format!("create database {name} template {template}")).await;
    let url = named(&server, &name).to_string();
    TestDatabase {
        database: open(&url),
        url,
        _folder: None,
    }
}

/// A wire to a server that can be cut and joined again.
pub(crate) struct Wire {
    address: SocketAddr,
    joined: watch::Sender<bool>,
    refused: Arc<AtomicU32>,
}

impl Wire {
    /// To the server of `url`; gives the URL that leads through the wire.
    pub(crate) async fn to(url: &str) -> (Self, String) {
        let mut through = Url::parse(url).unwrap();
        let target = format!("{}:{}", through.host_str().unwrap(), through.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (joined, state) = watch::channel(true);
        let refused = Arc::<AtomicU32>::default();
        tokio::spawn(accept(listener, target, state, Arc::clone(&refused)));
        through.set_port(Some(address.port())).unwrap();
        through.set_host(Some(&address.ip().to_string())).unwrap();
        let wire = Self {
            address,
            joined,
            refused,
        };
        (wire, through.to_string())
    }

    /// Ends every connection, and each new one at once.
    pub(crate) fn cut(&self) {
        assert!(self.address.port() > 0);
        self.joined.send_replace(false);
    }

    /// Connections that were ended at once.
    pub(crate) fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn join(&self) {
        self.joined.send_replace(true);
    }
}

async fn accept(listener: TcpListener, target: String, state: watch::Receiver<bool>, refused: Arc<AtomicU32>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let (target, mut state, refused) = (target.clone(), state.clone(), Arc::clone(&refused));
        tokio::spawn(async move {
            if !*state.borrow_and_update() {
                refused.fetch_add(1, Ordering::Relaxed);
                let _ = near.shutdown().await;
                return;
            }
            let Ok(mut far) = TcpStream::connect(target).await else {
                return;
            };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = state.wait_for(|joined| !joined) => {}
            }
        });
    }
}
