//! The operator's side of the configuration stream: auth servers dial in with mutual TLS, this pushes artefacts.
//!
//! It decides nothing about configuration. It is told, per fleet, which artefact is committed and which authority
//! signs that fleet's servers; it tells what each server answered ([`Acks`]). Every replica of the operator runs it.
//! Who a peer is follows from its certificate, never from what it says; its token names the pod.

mod acks;
mod delta;
mod folder;
mod session;
mod tls;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use rustls::pki_types::CertificateDer;
use snapshot::proto::config_server::{Config, ConfigServer};
use snapshot::proto::{FromOperator, FromServer, MESSAGE_BYTES};
use snapshot::{Artefact, Fleet};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

pub use acks::{Acks, FleetAcks, PodAck, Source};
pub use folder::{ArtefactFolderError, read_artefact, write_artefact};
pub use tls::{Peer, TlsError};
pub use token::{Bearer, PublicKey, TokenError, TokenIssuer, TokenSigner, TokenVerifier};

/// Times and limits of the stream.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Between heartbeats, either way. A peer that is silent for three of them is dropped.
    pub heartbeat: Duration,
    /// For the TLS handshake, and then for the first message.
    pub handshake: Duration,
    /// For a message to be taken, and for an update to be answered. A slower peer is dropped.
    pub patience: Duration,
    /// How old a stream gets before its peer is asked to dial again; up to a fifth is added at random.
    pub age: Duration,
    /// How long a peer that was asked to go may stay.
    pub farewell: Duration,
    /// How long a pod or a signing key that is not known yet is waited for: a watch lags a moment.
    pub acquaintance: Duration,
    /// Streams of one fleet.
    pub streams_per_fleet: usize,
    /// Connections altogether, including those in their handshake.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            handshake: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            age: Duration::from_hours(1),
            farewell: Duration::from_secs(5),
            acquaintance: Duration::from_secs(2),
            streams_per_fleet: 256,
            connections: 4096,
        }
    }
}

/// A fleet that is served.
#[derive(Clone, Debug)]
pub struct FleetFeed {
    /// The committed artefact; `None` before the first one.
    pub artefact: watch::Receiver<Option<Arc<Artefact>>>,
    /// The authorities that sign this fleet's servers, and no other's.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// The pods of each fleet: names by UID.
pub type Roster = BTreeMap<Fleet, BTreeMap<String, String>>;

/// Counts of what happened since the start.
#[derive(Debug)]
pub struct Counters {
    /// Connections refused in the TLS handshake or for want of room.
    pub refused_connections: AtomicU64,
    /// Streams refused after the handshake: bad token, unknown fleet, too many.
    pub refused_streams: AtomicU64,
    /// Streams that are open now.
    pub streams: AtomicU64,
    /// Updates sent.
    pub updates: AtomicU64,
    /// Bytes of resources sent in updates.
    pub update_bytes: AtomicU64,
    /// Resources that servers refused.
    pub rejections: AtomicU64,
    /// Streams that were dropped because their peer was slow or silent.
    pub evictions: AtomicU64,
    /// Seconds from the moment that a server is sent what differs to its word that it serves that.
    pub push_seconds: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            refused_connections: AtomicU64::default(),
            refused_streams: AtomicU64::default(),
            streams: AtomicU64::default(),
            updates: AtomicU64::default(),
            update_bytes: AtomicU64::default(),
            rejections: AtomicU64::default(),
            evictions: AtomicU64::default(),
            // From 1 ms to 30 s, when a server that does not answer is dropped.
            push_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
        }
    }
}

/// Publishes artefacts to the servers that dial in.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    identity: tls::Identity,
    trust: tls::FleetTrust,
    tokens: TokenVerifier,
    /// `None` where every bearer of a good token is served.
    roster: watch::Sender<Option<Arc<Roster>>>,
    feeds: Mutex<HashMap<Fleet, Feed>>,
    acks: watch::Sender<Arc<Acks>>,
    counters: Counters,
    drain: CancellationToken,
    tasks: TaskTracker,
}

/// What streams of a fleet follow.
#[derive(Clone, Debug)]
struct Feed {
    artefact: watch::Receiver<Option<Arc<Artefact>>>,
    /// Ends them.
    removed: CancellationToken,
}

impl Publisher {
    /// A publisher that accepts pod tokens that `tokens` accepts. It refuses every handshake until it has an identity:
    /// [`Publisher::set_identity`].
    pub fn new(limits: Limits, tokens: TokenVerifier) -> Self {
        let shared = Shared {
            limits,
            identity: tls::Identity::default(),
            trust: tls::FleetTrust::default(),
            tokens,
            roster: watch::Sender::default(),
            feeds: Mutex::default(),
            acks: watch::Sender::default(),
            counters: Counters::default(),
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Shows another certificate from the next handshake on. Open streams continue.
    pub fn set_identity(&self, identity: &crate::pki::Leaf) -> Result<(), TlsError> {
        self.shared.identity.set(identity)
    }

    /// Serves a fleet from now on, or from another feed or under other authorities than before. Streams that are open
    /// continue with the feed that they began with.
    pub fn set_fleet(&self, fleet: &Fleet, feed: FleetFeed) -> Result<(), TlsError> {
        let FleetFeed { artefact, authorities } = feed;
        self.shared.trust.set(fleet, &authorities)?;
        let mut feeds = self.feeds();
        let removed = feeds.get(fleet).map(|feed| feed.removed.clone()).unwrap_or_default();
        feeds.insert(fleet.clone(), Feed { artefact, removed });
        Ok(())
    }

    /// Serves only these pods from now on, whatever tokens there are. A pod that is not among them is asked to dial
    /// again later.
    pub fn set_roster(&self, roster: Roster) {
        self.shared.roster.send_if_modified(|present| {
            let is_new = present.as_deref() != Some(&roster);
            if is_new {
                *present = Some(Arc::new(roster));
            }
            is_new
        });
    }

    /// Serves a fleet no longer: its streams end, its servers are refused, and what they answered is forgotten.
    pub fn remove_fleet(&self, fleet: &Fleet) {
        self.shared.trust.remove(fleet);
        if let Some(feed) = self.feeds().remove(fleet) {
            feed.removed.cancel();
        }
        self.shared.acks.send_modify(|acks| {
            Arc::make_mut(acks).fleets.remove(fleet);
        });
    }

    /// What servers answered. The value changes with every answer, connection and disconnection.
    pub fn acks(&self) -> watch::Receiver<Arc<Acks>> {
        self.shared.acks.subscribe()
    }

    /// Counts of what happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Asks every server to go; [`Publisher::serve`] returns when they went, or after [`Limits::farewell`].
    pub fn drain(&self) {
        self.shared.drain.cancel();
    }

    /// Accepts servers until [`Publisher::drain`].
    pub async fn serve(&self, listener: TcpListener) -> Result<(), tonic::transport::Error> {
        let service = ConfigServer::new(Service {
            shared: Arc::clone(&self.shared),
        })
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
        let stopped = CancellationToken::new();
        let connections = tls::accept(Arc::clone(&self.shared), listener, stopped.clone());
        let shared = Arc::clone(&self.shared);
        let drained = async move {
            shared.drain.cancelled().await;
            shared.tasks.close();
            // Sessions say goodbye and end by themselves; the connections of those that do not are cut.
            let _ = tokio::time::timeout(shared.limits.farewell * 2, shared.tasks.wait()).await;
            stopped.cancel();
        };
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(self.shared.limits.heartbeat * 2))
            .http2_keepalive_timeout(Some(self.shared.limits.patience))
            .max_concurrent_streams(4)
            .add_service(service)
            .serve_with_incoming_shutdown(connections, drained)
            .await
    }

    fn feeds(&self) -> std::sync::MutexGuard<'_, HashMap<Fleet, Feed>> {
        self.shared.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn feed(&self, fleet: &Fleet) -> Option<Feed> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.get(fleet).cloned()
    }

    /// Whether the bearer is a pod of the fleet. One that is not listed yet is waited for.
    async fn is_listed(&self, fleet: &Fleet, bearer: &Bearer) -> bool {
        let is_listed = |roster: &Option<Arc<Roster>>| {
            let pods = |roster: &Arc<Roster>| roster.get(fleet).and_then(|pods| pods.get(&bearer.uid)).cloned();
            roster
                .as_ref()
                .is_none_or(|roster| pods(roster).as_ref() == Some(&bearer.pod))
        };
        let mut roster = self.roster.subscribe();
        let listed = tokio::time::timeout(self.limits.acquaintance, roster.wait_for(is_listed)).await;
        matches!(listed, Ok(Ok(_)))
    }

    fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

struct Service {
    shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Config for Service {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<FromOperator, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<FromServer>>) -> Result<Response<Self::StreamStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::unauthenticated("no client certificate"))?;
        let outgoing = session::start(&self.shared, peer, request.into_inner())?;
        Ok(Response::new(Box::pin(outgoing)))
    }
}

fn now() -> oidc::Timestamp {
    oidc::Timestamp::from_unix_millis(jiff::Timestamp::now().as_millisecond())
}
