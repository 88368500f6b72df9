//! A stream from an operator: hello, then every update is verified, applied and answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use oidc::config::Shared;
use snapshot::proto::config_client::ConfigClient;
use snapshot::proto::{self, FromOperator, FromServer, MESSAGE_BYTES, from_operator, from_server};
use snapshot::{Hash, Manifest, Payload, ServerVersion};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::held::{Held, UpdateError};
use super::tls::{PeerError, PeerFiles, bundle_hash};
use super::update::{Piece, Update};
use super::{ConfigFeed, Source, Status};

/// For a connection, a handshake and the operator's first words, each.
const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// Resources of one update, bytes: what an operator may make this server collect before it commits.
const UPDATE_BYTES: usize = 64 * 1024 * 1024;

/// How long the operator may take to close a stream whose other half is closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// There is no peer folder or token file.
    #[error("no peer folder or no token file is configured")]
    NotConfigured,
    /// The files of this server are no good.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The token cannot be read.
    #[error("token file cannot be read")]
    Token(#[source] std::io::Error),
    /// Nobody answers, or not an operator.
    #[error("operator cannot be reached")]
    Unreachable(#[source] tonic::transport::Error),
    /// The operator ended the stream with an error.
    #[error("operator refused: {0}")]
    Refused(String),
    /// The operator did not say what it should have in time.
    #[error("operator is silent")]
    Silent,
    /// The operator said what the protocol does not allow.
    #[error("operator broke the protocol: {0}")]
    Protocol(&'static str),
    /// The operator closed the stream or asked to dial again.
    #[error("operator closed the stream")]
    Closed,
    /// The update did not fit to what this server holds: a new stream begins with what that is.
    #[error("update did not fit")]
    Mismatch,
    /// Something that was served is refused now: a new stream begins with saying so.
    #[error("something that was accepted is refused now")]
    Reconsidered,
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Counts a stream in a number of the status.
struct Counted<'a> {
    feed: &'a ConfigFeed,
    number: fn(&mut Status) -> &mut usize,
}

impl<'a> Counted<'a> {
    fn new(feed: &'a ConfigFeed, number: fn(&mut Status) -> &mut usize) -> Self {
        feed.status.send_modify(|status| *number(status) += 1);
        Self { feed, number }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.feed.status.send_modify(|status| {
            let number = (self.number)(status);
            *number = number.saturating_sub(1);
        });
    }
}

/// One stream from its first to its last message. `settled` becomes true once the operator's configuration is served.
pub(super) async fn converse(feed: &Arc<ConfigFeed>, address: SocketAddr, settled: &mut bool) -> End {
    let Streams {
        outgoing,
        mut incoming,
        mut reconsidered,
    } = match open(feed, address).await {
        Ok(streams) => streams,
        Err(end) => return end,
    };
    let silent_after = |heartbeat: Duration| Instant::now() + heartbeat * 3;
    let heartbeat = match next(&mut incoming, Instant::now() + DIAL_PATIENCE).await {
        Ok(from_operator::Kind::Welcome(welcome)) if welcome.protocol == proto::PROTOCOL => {
            Duration::from_secs(welcome.heartbeat_seconds.clamp(1, 300).into())
        }
        Ok(_) => return End::Protocol("no welcome"),
        Err(end) => return end,
    };
    let _connected = Counted::new(feed, |status| &mut status.connected);
    let mut agreeing = None;
    tracing::info!(%address, "operator connected");
    let mut silent_at = silent_after(heartbeat);
    let mut beat = tokio::time::interval(heartbeat.min(feed.settings.reread));
    let mut collected = Collected::default();
    loop {
        let received = tokio::select! {
            _ = beat.tick() => {
                let bundle = feed.settings.peer_dir.as_deref().and_then(bundle_hash);
                let bundle = bundle.map(|hash| hash.as_bytes().to_vec()).unwrap_or_default();
                let _ = outgoing.try_send(message(from_server::Kind::Heartbeat(proto::Heartbeat { bundle })));
                continue;
            }
            received = next(&mut incoming, silent_at) => received,
            Ok(()) = reconsidered.changed() => return End::Reconsidered,
        };
        silent_at = silent_after(heartbeat);
        let outcome = match received {
            Ok(from_operator::Kind::Update(update)) => collected.add(update),
            Ok(from_operator::Kind::Commit(commit)) => {
                let (answer, outcome) = commit_update(feed, std::mem::take(&mut collected), commit).await;
                if answer.refused.is_some() {
                    agreeing = None;
                } else if agreeing.is_none() {
                    agreeing = Some(Counted::new(feed, |status| &mut status.agreeing));
                }
                if outgoing.send(message(from_server::Kind::Result(answer))).await.is_err() {
                    return End::Closed;
                }
                if outcome.is_ok() {
                    *settled = true;
                    feed.settle();
                }
                outcome
            }
            Ok(from_operator::Kind::Heartbeat(_)) => Ok(()),
            Ok(from_operator::Kind::GoAway(_)) => Err(End::Closed),
            Ok(from_operator::Kind::Welcome(_)) => Err(End::Protocol("a second welcome")),
            Err(end) => Err(end),
        };
        if let Err(end) = outcome {
            if matches!(end, End::Mismatch) {
                // The answer is on its way: closing both halves at once would lose it.
                drop(outgoing);
                let _ = tokio::time::timeout(FAREWELL, incoming.message()).await;
            }
            return end;
        }
    }
}

/// An open stream, whose hello is on its way.
struct Streams {
    outgoing: mpsc::Sender<FromServer>,
    incoming: Streaming<FromOperator>,
    /// Changes when something is refused that the hello does not say yet.
    reconsidered: watch::Receiver<()>,
}

async fn open(feed: &ConfigFeed, address: SocketAddr) -> Result<Streams, End> {
    let peer_dir = feed.settings.peer_dir.as_deref().ok_or(End::NotConfigured)?;
    let token_file = feed.settings.token_file.as_deref().ok_or(End::NotConfigured)?;
    let files = PeerFiles::read(peer_dir)?;
    let token = tokio::fs::read_to_string(token_file).await.map_err(End::Token)?;
    let bundle = files.bundle;
    let connector = tower::service_fn(move |_| {
        let files = files.clone();
        async move { files.connect(address).await }
    });
    let endpoint = Endpoint::try_from(format!("http://{address}")).map_err(End::Unreachable)?;
    let endpoint = endpoint.connect_timeout(DIAL_PATIENCE);
    let dialling = endpoint.connect_with_connector(connector);
    let channel = tokio::time::timeout(DIAL_PATIENCE * 2, dialling).await;
    let channel = channel.map_err(|_| End::Silent)?.map_err(End::Unreachable)?;

    let (outgoing, messages) = mpsc::channel(8);
    let (hello, reconsidered) = {
        let held = feed.held();
        let hello = hello(&held, feed.status.borrow().source, token.trim(), bundle);
        (hello, feed.reconsidered.subscribe())
    };
    let _ = outgoing.try_send(message(from_server::Kind::Hello(hello)));
    let mut client = ConfigClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let opening = client.stream(ReceiverStream::new(messages));
    let stream = tokio::time::timeout(DIAL_PATIENCE, opening)
        .await
        .map_err(|_| End::Silent)?;
    let stream = stream.map_err(|status| End::Refused(status.message().to_owned()))?;
    Ok(Streams {
        outgoing,
        incoming: stream.into_inner(),
        reconsidered,
    })
}

fn hello(held: &Held, source: Source, token: &str, bundle: Hash) -> proto::Hello {
    let source = match source {
        Source::None => proto::Source::None,
        Source::Mount => proto::Source::Mount,
        Source::Stream => proto::Source::Stream,
    };
    let version = |(id, version): (&snapshot::ResourceId, Hash)| proto::Held {
        id: id.to_string(),
        version: version.as_bytes().to_vec(),
    };
    let position = held.position();
    proto::Hello {
        protocol_min: proto::PROTOCOL,
        protocol_max: proto::PROTOCOL,
        server_version: ServerVersion::current().to_string(),
        token: token.to_owned(),
        head: position.map(|(head, _)| head.into()),
        content: position
            .map(|(_, content)| content.as_bytes().to_vec())
            .unwrap_or_default(),
        held: held.versions().map(version).collect(),
        rejected: rejections(held),
        source: source.into(),
        bundle: bundle.as_bytes().to_vec(),
    }
}

fn rejections(held: &Held) -> Vec<proto::Rejection> {
    let rejection = |(id, refusal): (&snapshot::ResourceId, &snapshot::Refusal)| proto::Rejection {
        id: id.to_string(),
        version: refusal.version.as_bytes().to_vec(),
        code: refusal.code.clone(),
        message: refusal.message.clone(),
    };
    held.rejected().into_iter().map(rejection).collect()
}

/// The next message that this version knows.
async fn next(incoming: &mut Streaming<FromOperator>, until: Instant) -> Result<from_operator::Kind, End> {
    loop {
        match tokio::time::timeout_at(until, incoming.message()).await {
            Err(_) => return Err(End::Silent),
            Ok(Err(status)) => return Err(End::Refused(status.message().to_owned())),
            Ok(Ok(None)) => return Err(End::Closed),
            Ok(Ok(Some(FromOperator { kind: Some(kind) }))) => return Ok(kind),
            Ok(Ok(Some(FromOperator { kind: None }))) => {}
        }
    }
}

/// The parts of an update that came so far.
#[derive(Debug, Default)]
struct Collected {
    parts: Vec<proto::Update>,
    bytes: usize,
}

impl Collected {
    fn add(&mut self, part: proto::Update) -> Result<(), End> {
        let pieces = part
            .pieces
            .iter()
            .map(|piece| piece.id.len() + piece.current.len() + piece.former.len());
        let removed = part.removed.iter().map(String::len);
        // The constant counts what a part costs in memory even when it carries nothing.
        self.bytes += 256 + part.manifest.len() + pieces.sum::<usize>() + removed.sum::<usize>();
        if self.bytes > UPDATE_BYTES {
            return Err(End::Protocol("update is too large"));
        }
        self.parts.push(part);
        Ok(())
    }

    /// The update that the parts are; `None` when they are none.
    fn into_update(self, shared: &mut Shared) -> Result<Option<Update>, UpdateError> {
        let Some(first) = self.parts.first() else {
            return Ok(None);
        };
        let manifest = Manifest::decode(&first.manifest)?;
        let mut pieces = BTreeMap::new();
        let mut removed = std::collections::BTreeSet::new();
        for part in self.parts {
            let proto::Update {
                manifest: _,
                pieces: listed,
                removed: gone,
            } = part;
            for proto::Piece { id, current, former } in listed {
                let id = id.parse().map_err(|_| UpdateError::WrongContent)?;
                let former = (!former.is_empty()).then(|| Payload::new(former));
                let piece = Piece::read(&id, &Payload::new(current), former.as_ref(), shared);
                pieces.insert(id, piece);
            }
            for id in gone {
                removed.insert(id.parse().map_err(|_| UpdateError::WrongContent)?);
            }
        }
        Ok(Some(Update {
            manifest,
            pieces,
            removed,
        }))
    }
}

/// Applies what was collected, and says what to answer.
async fn commit_update(
    feed: &Arc<ConfigFeed>,
    collected: Collected,
    commit: proto::Commit,
) -> (proto::Result, Result<(), End>) {
    let applying = Arc::clone(feed);
    let offered = commit.head;
    let task = tokio::task::spawn_blocking(move || {
        let Some(head) = commit.head else {
            return Err(UpdateError::WrongContent);
        };
        let (head, content) = (head.into(), Hash::from_slice(&commit.content).ok());
        let update = collected.into_update(&mut applying.held().shared)?;
        match update {
            Some(update) if update.manifest.head == head && Some(update.manifest.content) == content => {
                applying.apply(update, Source::Stream).map(|_| ())
            }
            None if content.is_some() && applying.held().position() == content.map(|content| (head, content)) => {
                applying.confirm();
                Ok(())
            }
            _ => Err(UpdateError::WrongContent),
        }
    });
    let outcome = task.await.unwrap_or(Err(UpdateError::WrongContent));
    if let Err(error) = &outcome {
        feed.report_problem(error);
    }
    let held = feed.held();
    let position = held.position();
    let refused = outcome.as_ref().err().map(|error| proto::Refusal {
        head: offered,
        code: error.code().to_owned(),
        message: error.to_string(),
    });
    let answer = proto::Result {
        head: position.map(|(head, _)| head.into()),
        content: position
            .map(|(_, content)| content.as_bytes().to_vec())
            .unwrap_or_default(),
        rejected: rejections(&held),
        refused,
    };
    let outcome = match outcome {
        Err(UpdateError::WrongContent) => Err(End::Mismatch),
        // A manifest that is not for this server may be followed by one that is.
        Ok(()) | Err(UpdateError::Manifest(_)) => Ok(()),
    };
    (answer, outcome)
}

fn message(kind: from_server::Kind) -> FromServer {
    FromServer { kind: Some(kind) }
}
