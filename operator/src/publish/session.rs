//! One stream: hello, welcome, then updates one at a time until either side goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::Stream;
use snapshot::proto::{self, FromOperator, FromServer, from_operator, from_server};
use snapshot::{Acknowledgement, Artefact, Hash, Refusal, ResourceId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::acks::{PodAck, Source};
use super::delta::{self, Base};
use super::tls::Peer;
use super::token::Bearer;
use super::{Shared, now};

/// Most refused resources that one answer may name, and the longest text of each, characters.
const REJECTIONS: usize = 20_000;
const TEXT: usize = 512;

type Outgoing = mpsc::Sender<Result<FromOperator, Status>>;

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// The peer closed it, or was asked to and did.
    Closed,
    /// The peer has no business here.
    Refused(Status),
    /// The peer is too slow or silent.
    Evicted(&'static str),
}

/// Runs the stream of `peer` in a task of its own; what it says comes out of the returned stream.
pub(super) fn start(
    shared: &Arc<Shared>,
    peer: Peer,
    incoming: Streaming<FromServer>,
) -> Result<impl Stream<Item = Result<FromOperator, Status>> + Send + 'static, Status> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);

    let feed = shared
        .feed(&peer.fleet)
        .ok_or_else(|| Status::permission_denied("fleet is not served here"))?;
    let open = shared
        .acks
        .borrow()
        .fleets
        .get(&peer.fleet)
        .map_or(0, super::FleetAcks::connected);
    if open >= shared.limits.streams_per_fleet {
        Shared::count(&shared.counters.refused_streams, 1);
        return Err(Status::resource_exhausted("too many streams of this fleet"));
    }
    peer.used.store(true, Ordering::Relaxed);
    let (outgoing, messages) = mpsc::channel(4);
    let session = Session {
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
        peer,
        outgoing,
        incoming,
        feed: feed.artefact,
        removed: feed.removed,
        shared: Arc::clone(shared),
    };
    shared.tasks.spawn(session.run());
    Ok(ReceiverStream::new(messages))
}

struct Session {
    number: u64,
    peer: Peer,
    outgoing: Outgoing,
    incoming: Streaming<FromServer>,
    feed: watch::Receiver<Option<Arc<Artefact>>>,
    removed: CancellationToken,
    shared: Arc<Shared>,
}

/// What is known of a server after its Hello.
struct Greeted {
    bearer: Bearer,
    ack: PodAck,
    base: Base,
    outstanding: Option<Outstanding>,
    /// The artefact that was refused whole: it is not sent again.
    refused: Option<Arc<Artefact>>,
    /// Whether the server heard of a head on this stream.
    is_confirmed: bool,
}

/// An update that was not answered yet.
struct Outstanding {
    target: Arc<Artefact>,
    sent: Instant,
    /// Until when it must be answered.
    due: Instant,
    /// Whether the server has it already and was only told so.
    is_known: bool,
}

impl Session {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        Shared::count(&shared.counters.streams, 1);
        let (greeted, end) = match self.greet().await {
            Ok(mut greeted) => {
                let end = self.converse(&mut greeted).await;
                (Some(greeted), end)
            }
            Err(end) => (None, end),
        };
        shared.counters.streams.fetch_sub(1, Ordering::Relaxed);
        let fleet = self.peer.fleet.clone();
        if let Some(Greeted { bearer, .. }) = &greeted {
            shared.acks.send_modify(|acks| {
                if let Some(acks) = Arc::make_mut(acks).fleets.get_mut(&fleet) {
                    acks.disconnect(&bearer.uid, self.number, now());
                }
            });
        }
        let pod = greeted.as_ref().map(|greeted| greeted.bearer.pod.as_str());
        match end {
            End::Closed => tracing::debug!(%fleet, pod, "stream closed"),
            End::Refused(status) => {
                Shared::count(&shared.counters.refused_streams, 1);
                tracing::warn!(%fleet, pod, reason = status.message(), "stream refused");
                // Without room for the answer the peer is not reading, and learns it from the closed connection.
                let _ = self.outgoing.try_send(Err(status));
            }
            End::Evicted(reason) => {
                Shared::count(&shared.counters.evictions, 1);
                tracing::warn!(%fleet, pod, reason, "stream dropped");
                self.peer.cut.cancel();
            }
        }
        // Last words get the time to arrive; then the connection ends, whatever the peer does.
        tokio::spawn(async move {
            tokio::time::sleep(shared.limits.farewell).await;
            self.peer.cut.cancel();
        });
    }

    async fn greet(&mut self) -> Result<Greeted, End> {
        let refused = |reason: &'static str| End::Refused(Status::failed_precondition(reason));
        let first = tokio::time::timeout(self.shared.limits.handshake, self.incoming.message()).await;
        let first = first.map_err(|_| End::Evicted("no hello"))?.map_err(|_| End::Closed)?;
        let Some(FromServer {
            kind: Some(from_server::Kind::Hello(hello)),
        }) = first
        else {
            return Err(refused("the first message must be hello"));
        };
        let verifying = self
            .shared
            .tokens
            .verify_patiently(&hello.token, now(), self.shared.limits.acquaintance);
        let bearer = verifying
            .await
            .map_err(|error| End::Refused(Status::unauthenticated(error.to_string())))?;
        if !bearer.serves(&self.peer.fleet) {
            return Err(End::Refused(Status::permission_denied(
                "token names another fleet than the certificate",
            )));
        }
        if !self.shared.is_listed(&self.peer.fleet, &bearer).await {
            return Err(End::Refused(Status::unavailable("pod is not known here yet")));
        }
        if !(hello.protocol_min..=hello.protocol_max).contains(&proto::PROTOCOL) {
            return Err(refused("no common protocol"));
        }
        let welcome = proto::Welcome {
            protocol: proto::PROTOCOL,
            heartbeat_seconds: u32::try_from(self.shared.limits.heartbeat.as_secs().max(1)).unwrap_or(15),
        };
        let (ack, base) =
            read_hello(&hello, &bearer, self.number).map_err(|Malformed| refused("hello is malformed"))?;
        self.send(from_operator::Kind::Welcome(welcome)).await?;
        tracing::info!(fleet = %self.peer.fleet, pod = bearer.pod, version = %ack.server_version, "server connected");
        let greeted = Greeted {
            bearer,
            ack,
            base,
            outstanding: None,
            refused: None,
            is_confirmed: false,
        };
        self.report(&greeted);
        Ok(greeted)
    }

    async fn converse(&mut self, greeted: &mut Greeted) -> End {
        let limits = self.shared.limits.clone();
        let mut heartbeat = tokio::time::interval(limits.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let goes_at = Instant::now() + jittered(limits.age);
        let mut heard_at = Instant::now();
        let mut leaves_at = None;
        self.feed.mark_changed();
        loop {
            let answer_due = greeted.outstanding.as_ref().map(|update| update.due);
            let step = tokio::select! {
                () = self.peer.cut.cancelled() => return End::Closed,
                () = self.removed.cancelled() => {
                    return End::Refused(Status::unavailable("fleet is no longer served here"));
                }
                () = self.shared.drain.cancelled(), if leaves_at.is_none() => {
                    leaves_at = Some(Instant::now() + limits.farewell);
                    self.go_away("operator stops").await
                }
                () = tokio::time::sleep_until(goes_at), if leaves_at.is_none() => {
                    leaves_at = Some(Instant::now() + limits.farewell);
                    self.go_away("connection is old").await
                }
                () = until(leaves_at) => return End::Closed,
                () = until(answer_due) => return End::Evicted("update was not answered"),
                () = tokio::time::sleep_until(heard_at + limits.heartbeat * 3) => return End::Evicted("silent"),
                _ = heartbeat.tick() => {
                    self.send(from_operator::Kind::Heartbeat(proto::Heartbeat::default())).await
                }
                message = self.incoming.message() => {
                    heard_at = Instant::now();
                    match message {
                        Ok(Some(message)) => self.hear(greeted, message),
                        Ok(None) | Err(_) => return End::Closed,
                    }
                }
                changed = self.feed.changed(), if greeted.outstanding.is_none() => match changed {
                    Ok(()) => self.update(greeted).await,
                    // Nobody will ever commit anything again.
                    Err(_) => return End::Refused(Status::unavailable("fleet is no longer served here")),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Sends what is committed now, unless the server already has it. While an answer is outstanding this is not
    /// called, so that generations committed meanwhile merge.
    async fn update(&mut self, greeted: &mut Greeted) -> Result<(), End> {
        let Some(target) = self.feed.borrow_and_update().clone() else {
            return Ok(());
        };
        let serves =
            |answer: &Acknowledgement| answer.head == target.head() && answer.content == target.manifest().content;
        let known = greeted.refused.as_ref().is_some_and(|refused| **refused == *target);
        let is_served = greeted.ack.answer.as_ref().is_some_and(serves);
        if known || (is_served && greeted.is_confirmed) {
            return Ok(());
        }
        // A server that is at the head already hears so once: it may be waiting for that word to become ready.
        greeted.is_confirmed = true;
        let messages = if is_served {
            vec![delta::commit(&target)]
        } else {
            delta::messages(&greeted.base, &target)
        };
        let sent = Instant::now();
        Shared::count(&self.shared.counters.updates, 1);
        Shared::count(&self.shared.counters.update_bytes, delta::resource_bytes(&messages));
        for message in messages {
            self.send(message).await?;
        }
        greeted.outstanding = Some(Outstanding {
            target,
            sent,
            due: Instant::now() + self.shared.limits.patience,
            is_known: is_served,
        });
        Ok(())
    }

    fn hear(&mut self, greeted: &mut Greeted, message: FromServer) -> Result<(), End> {
        let malformed = || End::Refused(Status::invalid_argument("message is malformed"));
        match message.kind {
            Some(from_server::Kind::Heartbeat(proto::Heartbeat { bundle })) => {
                let bundle = Hash::from_slice(&bundle).ok();
                if bundle != greeted.ack.bundle {
                    greeted.ack.bundle = bundle;
                    self.report(greeted);
                }
                Ok(())
            }
            Some(from_server::Kind::Result(result)) => {
                let Some(update) = greeted.outstanding.take() else {
                    return Err(End::Refused(Status::failed_precondition("result without an update")));
                };
                let answer = answer(result.head, &result.content, &result.rejected).map_err(|Malformed| malformed())?;
                if let Some(refusal) = result.refused {
                    greeted.ack.refused = Some((short(&refusal.code), short(&refusal.message)));
                    greeted.refused = Some(update.target);
                } else {
                    let rejected = answer.as_ref().map_or(0, |answer| answer.rejected.len());
                    Shared::count(&self.shared.counters.rejections, rejected as u64);
                    greeted.ack.refused = None;
                    greeted.ack.source = Source::Stream;
                    greeted.base = Base::Acknowledged(update.target);
                    if !update.is_known {
                        let seconds = update.sent.elapsed().as_secs_f64();
                        self.shared.counters.push_seconds.observe(seconds);
                    }
                }
                greeted.ack.answer = answer;
                self.report(greeted);
                // What was committed while the answer was outstanding is looked at now.
                self.feed.mark_changed();
                Ok(())
            }
            Some(from_server::Kind::Hello(_)) => Err(malformed()),
            None => Ok(()),
        }
    }

    async fn go_away(&mut self, reason: &str) -> Result<(), End> {
        let reason = reason.to_owned();
        self.send(from_operator::Kind::GoAway(proto::GoAway { reason })).await
    }

    async fn send(&self, kind: from_operator::Kind) -> Result<(), End> {
        let message = FromOperator { kind: Some(kind) };
        match tokio::time::timeout(self.shared.limits.patience, self.outgoing.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Closed),
            Err(_) => Err(End::Evicted("messages are not read")),
        }
    }

    fn report(&self, greeted: &Greeted) {
        if self.removed.is_cancelled() {
            return;
        }
        self.shared.acks.send_modify(|acks| {
            let fleet = Arc::make_mut(acks).fleets.entry(self.peer.fleet.clone()).or_default();
            fleet.put(&greeted.bearer.uid, greeted.ack.clone(), now());
        });
    }
}

fn read_hello(hello: &proto::Hello, bearer: &Bearer, stream: u64) -> Result<(PodAck, Base), Malformed> {
    let answer = answer(hello.head, &hello.content, &hello.rejected)?;
    let mut versions = BTreeMap::new();
    for held in &hello.held {
        let version = Hash::from_slice(&held.version).map_err(|_| Malformed)?;
        versions.insert(held.id.parse().map_err(|_| Malformed)?, version);
    }
    // What a server refused it has seen; it is not sent again.
    for (id, refusal) in answer.iter().flat_map(|answer| &answer.rejected) {
        versions.insert(id.clone(), refusal.version);
    }
    let ack = PodAck {
        pod: bearer.pod.clone(),
        stream,
        disconnected: None,
        answer,
        refused: None,
        bundle: Hash::from_slice(&hello.bundle).ok(),
        server_version: hello.server_version.parse().map_err(|_| Malformed)?,
        source: hello.source().into(),
    };
    Ok((ack, Base::Listed(versions)))
}

/// A message that says nothing sensible.
struct Malformed;

/// What a server says it serves; `None` is nothing.
fn answer(
    head: Option<proto::Head>,
    content: &[u8],
    rejected: &[proto::Rejection],
) -> Result<Option<Acknowledgement>, Malformed> {
    let Some(head) = head else { return Ok(None) };
    if rejected.len() > REJECTIONS {
        return Err(Malformed);
    }
    Ok(Some(Acknowledgement {
        head: head.into(),
        content: Hash::from_slice(content).map_err(|_| Malformed)?,
        rejected: rejected.iter().map(rejection).collect::<Result<_, _>>()?,
    }))
}

fn rejection(rejection: &proto::Rejection) -> Result<(ResourceId, Refusal), Malformed> {
    let refusal = Refusal {
        version: Hash::from_slice(&rejection.version).map_err(|_| Malformed)?,
        code: short(&rejection.code),
        message: short(&rejection.message),
    };
    Ok((rejection.id.parse().map_err(|_| Malformed)?, refusal))
}

/// Text of a peer, for status and logs: bounded, one line.
fn short(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(TEXT)
        .collect()
}

fn jittered(duration: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness every stream has the same age, which is only less even.
    let _ = aws_lc_rs::rand::fill(&mut random);
    duration + duration / 5 * u32::from(u16::from_be_bytes(random)) / u32::from(u16::MAX)
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
