//! `run`: the operator in a cluster. What is put together here, and how it starts and stops.
//!
//! Every replica watches and streams; the holder of the Lease also writes. Nothing here decides anything about objects.

pub mod delivery;
mod lease;
mod metrics;
mod probes;
mod round;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crds::admission::{Admission, AdmissionError};
use oidc::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::{Applier, Events, Fence, LeaseClient};
use crate::build::auth_server::Operator;
use crate::log::chain;
use crate::publish::{Limits, TokenIssuer, TokenVerifier};
use crate::status::Patience;
use crate::world::cluster::{Cache, References, watch_all};
use delivery::{AUDIENCE, Delivery};
use metrics::{Metrics, RoundResult};
use probes::Probes;
use round::{AT_LEAST, Debounce, Round, RoundError};

pub use settings::{RunFlags, Settings, SettingsError};

/// Name of the Lease.
const LEASE: &str = "nauthera-operator";

/// For the end: what is not finished by then is cut.
const FAREWELL: Duration = Duration::from_secs(8);

/// After a round that failed.
const RETRY: Duration = Duration::from_secs(2);

/// The operator could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no API server to talk to.
    #[error("no cluster is configured: neither a kubeconfig nor a pod's service account was found")]
    Kubeconfig(#[from] kube::config::InferConfigError),
    /// The client cannot be made.
    #[error("cannot talk to the API server")]
    Client(#[from] kube::Error),
    /// The rules of the custom resources cannot be compiled.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// A listener cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot wait for signals")]
    Signal(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let client = client().await?;
    let admission = Admission::new()?;
    let http = listen(settings.listen_http, "probes and metrics").await?;
    let config = listen(settings.listen_config, "configuration").await?;
    let cache = Arc::new(Cache::new(&settings.namespaces, &settings.namespace, admission));
    let watches = watch_all(&client, &settings.namespaces, &settings.namespace, &cache);
    let tokens = TokenVerifier::new(AUDIENCE, TokenIssuer::default());
    let issuer = tokio::spawn(delivery::issuer::follow(client.clone(), tokens.clone()));
    let delivery = Delivery::new(&settings.namespace, limits(), tokens);
    let publisher = delivery.publisher().clone();
    let metrics = Metrics::new(publisher.counters());
    let (leading_sender, leading) = watch::channel(false);
    let probes = Probes {
        cache: Arc::clone(&cache),
        metrics: metrics.clone(),
        leading: leading.clone(),
        publisher: publisher.clone(),
        streaming: Arc::default(),
        draining: Arc::default(),
    };
    let (stop, settled, ended) = <(CancellationToken, CancellationToken, CancellationToken)>::default();
    let probing = tokio::spawn(probes.clone().serve(http, ended.clone()));
    let streaming = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.serve(config).await }
    });
    let fence = Fence::closed();
    let identity = format!("{}_{}", settings.pod_name, uuid::Uuid::new_v4().simple());
    let lease = LeaseClient::new(client.clone(), &settings.namespace, LEASE);
    let electing = lease::elect(
        lease,
        identity,
        fence.clone(),
        leading_sender,
        stop.clone(),
        settled.clone(),
    );
    let electing = tokio::spawn(electing);
    let counting = metrics.clone();
    let applier = Applier::new(client.clone(), fence, Arc::new(move |call| counting.call(call)));
    let round = Round {
        cache: Arc::clone(&cache),
        references: References::new(client),
        class: settings.operator_class.clone(),
        metrics,
        delivery,
        events: Events::new(applier.clone(), &settings.pod_name),
        applier,
        operator: Operator {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            server_image: settings.server_image.clone(),
            config_address: settings.config_address.clone(),
        },
        patience: Patience::default(),
        foreign: BTreeSet::new(),
        converging: BTreeMap::new(),
    };
    let rounds = tokio::spawn(rounds(round, leading, Arc::clone(&probes.streaming), stop.clone()));
    tracing::info!(namespaces = ?settings.namespaces, class = settings.operator_class, "started");
    stop_signal().await?;
    tracing::info!("stopping");
    probes.draining.store(true, Ordering::Release);
    stop.cancel();
    publisher.drain();
    let farewell = async {
        let _ = rounds.await;
        settled.cancel();
        let _ = electing.await;
        let _ = streaming.await;
    };
    if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    issuer.abort();
    drop(watches);
    ended.cancel();
    let _ = probing.await;
    Ok(())
}

/// Those of the stream; servers that are asked to go have less time than the pod.
fn limits() -> Limits {
    Limits {
        farewell: Duration::from_secs(3),
        ..Limits::default()
    }
}

/// A client for the cluster of the kubeconfig, or of the pod that this is.
async fn client() -> Result<kube::Client, RunError> {
    let mut config = kube::Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(Duration::from_secs(10));
    // A watch lasts 30 s; an answer that takes longer than this does not come.
    config.read_timeout = Some(Duration::from_secs(35));
    config.reset_reader_on_write = true;
    Ok(kube::Client::try_from(config)?)
}

async fn listen(address: std::net::SocketAddr, serves: &str) -> Result<TcpListener, RunError> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| RunError::Listen { address, source })?;
    // Port 0 asks for any: whoever started this has to learn which.
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, serves, "listening");
    }
    Ok(listener)
}

/// Round after round, until `stop`: those of the leader while this replica leads.
async fn rounds(
    mut round: Round,
    mut leading: watch::Receiver<bool>,
    streaming: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let mut world = round.cache.changes();
    let mut acks = round.delivery.acks();
    let mut debounce = Debounce::default();
    loop {
        let idle = Instant::now() + AT_LEAST;
        let due = debounce.due().unwrap_or(idle).min(idle);
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = world.changed() => {
                if round.cache.take_changes() {
                    debounce.changed(Instant::now());
                }
                continue;
            }
            Ok(()) = acks.changed() => {
                debounce.answered(Instant::now(), round.awaits_answers());
                continue;
            }
            Ok(()) = leading.changed() => {
                debounce.now(Instant::now());
                continue;
            }
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let changed = debounce.begin(Instant::now());
        if *leading.borrow_and_update() {
            match round.lead(now(), changed).await {
                Ok(outcome) => {
                    round.metrics.round(RoundResult::Done);
                    if let Some(after) = outcome.retry {
                        debounce.retry(Instant::now() + after);
                    }
                }
                // Told by the election already.
                Err(RoundError::Fenced(_)) => debounce.retry(Instant::now() + RETRY),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "round failed; it is repeated");
                    round.metrics.round(RoundResult::Failed);
                    debounce.retry(Instant::now() + RETRY);
                }
            }
        } else {
            round.follow(now());
        }
        streaming.store(round.delivery.is_ready(), Ordering::Release);
    }
}

async fn stop_signal() -> Result<(), std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn now() -> Timestamp {
    Timestamp::from_unix_millis(jiff::Timestamp::now().as_millisecond())
}
