//! How a server is put together: settings in, a running server out.
//!
//! The only place that knows all parts. Tests start it on port 0 with the same code as `nauthera-auth serve`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App as WebApp, HttpServer, web};
use oidc::revocation::Revocations;

use crate::clock;
use crate::config_feed::{self, ConfigFeed, Source};
use crate::erasure::{Eraser, Erasure};
use crate::health::{Readiness, Report, ServedConfiguration};
use crate::http::{self, Shell, probe::Vitals};
use crate::metrics::Metrics;
use crate::password::Hasher;
use crate::settings::Settings;
use crate::store::feed::Feed;
use crate::store::housekeeping::Housekeeping;
use crate::store::schema::SchemaError;
use crate::store::{self, Database, DatabaseSettings, OpenError};

/// Passwords that may wait for each hashing thread before people are asked to come back.
const HASH_QUEUE_PER_WORKER: usize = 16;
/// Time that a client has to send the head of a request.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long starting waits for a database that does not answer yet, between attempts.
const DATABASE_RETRY: Duration = Duration::from_secs(1);

/// A server that is being put together.
pub struct App;

/// A server that runs. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    addresses: Vec<SocketAddr>,
    health_address: SocketAddr,
    readiness: Readiness,
    public: ServerHandle,
    health: ServerHandle,
    _feed: Feed,
    _housekeeping: Housekeeping,
    _erasure: Erasure,
    config_feed: Arc<config_feed::Handle>,
    drain_timeout: Duration,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database settings are wrong.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The schema is not one that this program serves.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Threads cannot be started.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
}

impl App {
    /// Starts a server. Returns once it listens; it becomes ready when it has a configuration and knows the
    /// revocations. Fails at once when settings or schema are wrong; a database that is merely away is waited for.
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        let listeners = listen_all(&settings.listen)?;
        let health_listener = listen(settings.health_listen)?;
        let database = store::open(&DatabaseSettings {
            url: settings.database_url.clone(),
            reread: settings.database_reread.clone(),
            pool_size: settings.database_pool,
        })?;
        let revocations = Arc::new(Revocations::default());
        let config_feed = Arc::new(ConfigFeed::start(feed_settings(&settings)).await);
        let metrics = Metrics::new();
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let hasher = Hasher::start(workers, workers * HASH_QUEUE_PER_WORKER).map_err(StartError::Threads)?;
        let feed = Feed::start(Arc::clone(&database), Arc::clone(&revocations));
        let schema_fits = Arc::new(AtomicBool::new(false));

        // Probes tell the truth also while the database is waited for.
        let readiness = readiness(&config_feed, &feed, Arc::clone(&schema_fits));
        let refresh = refresher(&config_feed, &feed, &database, &revocations, &hasher, &readiness);
        let vitals = Vitals {
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            refresh,
        };
        let health_address = health_listener.local_addr().map_err(StartError::Threads)?;
        let health = serve_health(health_listener, web::Data::new(vitals))?;
        if let Err(error) = wait_for_schema(&*database).await {
            health.stop(false).await;
            return Err(error);
        }
        schema_fits.store(true, Ordering::Release);
        let housekeeping = Housekeeping::start(Arc::clone(&database));
        let eraser = Eraser {
            config: Arc::clone(&config_feed),
            database: Arc::clone(&database),
            readiness: readiness.clone(),
            erasures: metrics.erasures().clone(),
        };
        let shell = Shell::new(config_feed.served(), database, revocations, hasher, metrics, &settings);

        let addresses = local_addresses(&listeners);
        let public = serve(listeners, web::Data::new(shell), workers, settings.drain_timeout)?;
        tracing::info!(listen = ?addresses, health = %health_address, version = env!("CARGO_PKG_VERSION"), "listening");
        Ok(Running {
            addresses,
            health_address,
            readiness,
            public,
            health,
            _feed: feed,
            _housekeeping: housekeeping,
            _erasure: eraser.start(),
            config_feed,
            drain_timeout: settings.drain_timeout,
        })
    }
}

impl Running {
    /// Addresses of the public listeners, with the ports that were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Address of probes and metrics.
    pub fn health_address(&self) -> SocketAddr {
        self.health_address
    }

    /// Drains and stops: not ready from now on, requests in flight end within the drain timeout.
    pub async fn stop(self) {
        tracing::info!(timeout_seconds = self.drain_timeout.as_secs(), "draining");
        self.readiness.drain();
        self.public.stop(true).await;
        self.config_feed.stop().await;
        self.health.stop(false).await;
        tracing::info!("stopped");
    }
}

async fn wait_for_schema(database: &dyn Database) -> Result<(), StartError> {
    let mut reported = false;
    loop {
        match store::check_schema(database).await {
            Err(SchemaError::Store(error)) => {
                if !reported {
                    tracing::warn!(
                        error = crate::log::chain(&error),
                        "database does not answer; waiting for it"
                    );
                    reported = true;
                }
                tokio::time::sleep(DATABASE_RETRY).await;
            }
            checked => return checked.map_err(Into::into),
        }
    }
}

fn readiness(config_feed: &config_feed::Handle, feed: &Feed, schema_fits: Arc<AtomicBool>) -> Readiness {
    let (config, feed) = (config_feed.status(), feed.status());
    let served = config_feed.served();
    Readiness::new(move || {
        let config = config.borrow();
        let mut report = Report::default();
        match config.head {
            Some(head) => {
                report.configuration = Some(ServedConfiguration {
                    epoch: head.epoch,
                    generation: head.generation,
                    source: match config.source {
                        Source::None => "none",
                        Source::Mount => "mount",
                        Source::Stream => "stream",
                    },
                    realms: served.load().realms().count(),
                });
                if !config.settled {
                    report
                        .not_ready
                        .push("waiting for an operator to say whether the configuration is the newest".to_owned());
                }
            }
            None => report
                .not_ready
                .push("no configuration: nothing in the configuration folder, and no operator has sent one".to_owned()),
        }
        if !schema_fits.load(Ordering::Acquire) {
            report
                .not_ready
                .push("the database schema was not checked yet".to_owned());
        }
        if !feed.is_complete() {
            report
                .not_ready
                .push("the revocations were not read from the database yet".to_owned());
        }
        if !feed.clock_agrees() {
            report.not_ready.push(format!(
                "this clock is {} ms off the database's",
                feed.clock_skew_millis()
            ));
        }
        report.degraded.extend(config.problem.clone());
        if config.rejected > 0 {
            report.degraded.push(format!(
                "{} resource(s) of the configuration were refused",
                config.rejected
            ));
        }
        if feed.last_failure().is_some() {
            report.degraded.push("the database does not answer".to_owned());
        }
        report
    })
}

fn refresher(
    config_feed: &config_feed::Handle,
    feed: &Feed,
    database: &Arc<dyn Database>,
    revocations: &Arc<Revocations>,
    hasher: &Hasher,
    readiness: &Readiness,
) -> Arc<dyn Fn(&Metrics) + Send + Sync> {
    let (config, feed) = (config_feed.status(), feed.status());
    let (database, revocations) = (Arc::clone(database), Arc::clone(revocations));
    let (hasher, readiness, served) = (hasher.clone(), readiness.clone(), config_feed.served());
    Arc::new(move |metrics| {
        let (gauges, status) = (metrics.gauges(), config.borrow().clone());
        gauges
            .config_generation
            .set(status.head.map_or(0, |head| clamp(head.generation)));
        gauges.config_connected.set(clamp(status.connected));
        gauges.config_rejected.set(clamp(status.rejected));
        gauges.realms.set(clamp(served.load().realms().count()));
        gauges.revocations.set(clamp(feed.entries()));
        let age = revocations.staleness(clock::now()).unwrap_or_default();
        gauges.revocation_age.set(age.as_secs_f64());
        gauges.hash_queue.set(clamp(hasher.depth()));
        gauges.database_statements.set(clamp(database.statements()));
        gauges.password_hashes.set(clamp(hasher.computed()));
        let signatures: u64 = served.load().realms().map(|realm| realm.keys.signatures()).sum();
        gauges.signatures.set(clamp(signatures));
        gauges.ready.set(i64::from(readiness.report().not_ready.is_empty()));
    })
}

fn clamp(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn listen_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    addresses.iter().map(|address| listen(*address)).collect()
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    http::listen::bind(address).map_err(|source| StartError::Listen { address, source })
}

fn local_addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect()
}

fn serve(
    listeners: Vec<TcpListener>,
    shell: web::Data<Shell>,
    workers: usize,
    drain_timeout: Duration,
) -> Result<ServerHandle, StartError> {
    let mut server = HttpServer::new(move || {
        WebApp::new()
            .app_data(shell.clone())
            .default_service(web::to(http::serve))
    })
    .workers(workers)
    .client_request_timeout(REQUEST_HEAD_TIMEOUT)
    .shutdown_timeout(drain_timeout.as_secs())
    .disable_signals();
    for listener in listeners {
        server = server.listen(listener).map_err(StartError::Threads)?;
    }
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

fn serve_health(listener: TcpListener, vitals: web::Data<Vitals>) -> Result<ServerHandle, StartError> {
    let server = HttpServer::new(move || {
        WebApp::new()
            .app_data(vitals.clone())
            .default_service(web::to(http::probe::serve))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)
    .map_err(StartError::Threads)?
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

fn feed_settings(settings: &Settings) -> config_feed::Settings {
    let mut feed = config_feed::Settings::new(settings.fleet.clone(), settings.config_dir.clone());
    if let Some(operator) = &settings.operator {
        feed.operator_addresses.clone_from(&operator.addresses);
        feed.peer_dir = Some(operator.peer_dir.clone());
        feed.token_file = Some(operator.token_file.clone());
    }
    feed
}
