//! Where the served configuration comes from: files at the start, then streams from every operator replica.
//!
//! Each update is verified whole before the live configuration is touched; then it is swapped atomically. A resource
//! that is no good is refused alone and keeps its former version. Whatever happens to operators and files, the last
//! good configuration keeps being served. What realms mean is not known here, only whether they may be served.

mod dial;
mod gone;
mod held;
mod mount;
mod proof;
mod stream;
mod tls;
mod update;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use oidc::Timestamp;
use oidc::served::Served;
use snapshot::{Fleet, Head, ServerVersion};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use gone::Gone;
use held::{Applied, Held, UpdateError};
use proof::{Proof, Trial};
use update::Update;

use crate::{background, clock};

/// How long a server with a configuration waits for a first word from an operator before it counts as ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where configuration is found and who this server is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The fleet that this server belongs to. Another fleet's configuration is refused.
    pub fleet: Fleet,
    /// The folder of manifest and shards.
    pub config_dir: PathBuf,
    /// Operators to dial, `HOST:PORT`. A host with several addresses is dialled at each of them.
    pub operator_addresses: Vec<String>,
    /// The folder of `tls.crt`, `tls.key` and `ca.crt`; needed when there is anybody to dial.
    pub peer_dir: Option<PathBuf>,
    /// The file with the token that names this pod.
    pub token_file: Option<PathBuf>,
    /// The first wait before an operator is dialled again; it doubles up to [`Settings::backoff_longest`].
    pub backoff_first: Duration,
    /// The longest wait before an operator is dialled again. Short: what an operator reports about this server waits for
    /// it.
    pub backoff_longest: Duration,
    /// How often files are looked at again: those of the configuration while no operator is connected, and those of
    /// the peer certificate.
    pub reread: Duration,
}

impl Settings {
    /// Settings with the usual times and nobody to dial.
    pub fn new(fleet: Fleet, config_dir: PathBuf) -> Self {
        Self {
            fleet,
            config_dir,
            operator_addresses: Vec::new(),
            peer_dir: None,
            token_file: None,
            backoff_first: Duration::from_secs(1),
            backoff_longest: Duration::from_secs(8),
            reread: Duration::from_secs(15),
        }
    }
}

/// Where the configuration that is served came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nothing is served.
    #[default]
    None,
    /// From files.
    Mount,
    /// From an operator.
    Stream,
}

/// How the feed is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Position of what is served; `None` when nothing is.
    pub head: Option<Head>,
    /// Where it came from.
    pub source: Source,
    /// The highest position heard of, served or not.
    pub known: Option<Head>,
    /// When what is served was last confirmed or replaced by files or an operator.
    pub confirmed_at: Option<Timestamp>,
    /// How many resources are not served as the configuration says.
    pub rejected: usize,
    /// How many operators are connected.
    pub connected: usize,
    /// How many of them have said, since they are connected, that what is served is the newest.
    pub agreeing: usize,
    /// Whether an operator confirmed the configuration, nobody can be dialled, or the wait is over.
    pub settled: bool,
    /// Why the last update or the files were refused, until something is applied again.
    pub problem: Option<String>,
}

impl Status {
    /// Whether there is a configuration and no reason to wait for a better one.
    pub fn is_ready(&self) -> bool {
        self.head.is_some() && self.settled
    }

    /// How many generations behind the newest known configuration this server is.
    pub fn head_lag(&self) -> u64 {
        match (self.head, self.known) {
            (Some(head), Some(known)) if known > head => known.generation.saturating_sub(head.generation).max(1),
            _ => 0,
        }
    }
}

/// A running feed. Dropping it stops the feed; what is served stays.
#[derive(Debug)]
pub struct Handle {
    feed: Arc<ConfigFeed>,
}

impl Handle {
    /// The configuration of the moment: load it once for each request. Empty while [`Status::head`] is `None`.
    pub fn served(&self) -> Arc<ArcSwap<Served>> {
        Arc::clone(&self.feed.served)
    }

    /// How the feed is doing, now and whenever it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.feed.status.subscribe()
    }

    /// Closes all streams.
    pub async fn stop(&self) {
        self.feed.stop.cancel();
        self.feed.tasks.close();
        self.feed.tasks.wait().await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.feed.stop.cancel();
    }
}

/// The feed of configuration.
#[derive(Debug)]
pub struct ConfigFeed {
    settings: Settings,
    served: Arc<ArcSwap<Served>>,
    held: Mutex<Held>,
    status: watch::Sender<Status>,
    /// Changes when something is refused that was served before: streams say so by a new hello.
    reconsidered: watch::Sender<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ConfigFeed {
    /// Reads the files, so that what they hold is served when this returns, and dials the operators. Must be called
    /// in a tokio runtime. Never fails: problems are in [`Status`] and in the log.
    pub async fn start(settings: Settings) -> Handle {
        let feed = Arc::new(Self {
            served: Arc::default(),
            held: Mutex::default(),
            status: watch::Sender::default(),
            reconsidered: watch::Sender::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            settings,
        });
        feed.read_mount().await;
        feed.try_unproven_keys();
        feed.spawn(mount::follow(Arc::clone(&feed)));
        dial::dial_all(&feed);
        let waiting = Arc::clone(&feed);
        feed.spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            waiting.settle();
        });
        Handle { feed }
    }

    /// Runs `task` until the feed is stopped.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(task).await });
    }

    async fn read_mount(self: &Arc<Self>) {
        let feed = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || match mount::read(&feed) {
            Ok(Some(update)) => {
                let _ = feed.apply(update, Source::Mount);
            }
            Ok(None) => {}
            Err(error) => feed.report_problem(&error),
        });
        let _ = read.await;
    }

    /// Tries the keys that were taken at their word at the start. Of ten thousand realms that takes a core for half a
    /// minute, which nobody who asks for a token should notice.
    fn try_unproven_keys(self: &Arc<Self>) {
        let feed = Arc::clone(self);
        let running = self.tasks.token();
        let trial = move || {
            let _running = running;
            let unproven = feed.held().unproven().clone();
            for id in unproven {
                let live = feed.served.load().realm(id).cloned();
                let Some(live) = live.filter(|_| !feed.stop.is_cancelled()) else {
                    continue;
                };
                let outcome = oidc::keys::prove(live.keys.set(), None);
                let mut held = feed.held();
                if held.tried(id, outcome.as_ref().copied()) {
                    let rejected = held.rejected().len();
                    feed.status.send_modify(|status| status.rejected = rejected);
                    feed.reconsidered.send_replace(());
                    let reason = outcome.err().map(|fault| fault.to_string());
                    tracing::warn!(realm = %id, reason, "the keys that a realm was started with are no good");
                }
            }
        };
        if let Err(error) = background::spawn("keys".to_owned(), trial) {
            tracing::warn!(%error, "keys are not tried: there is no thread for it");
        }
    }

    /// Verifies `update` and serves it. Runs for milliseconds on a large one, and for some more for each key that was
    /// never tried.
    fn apply(&self, update: Update, source: Source) -> Result<Applied, UpdateError> {
        let known = update.manifest.head;
        let (trial, unproven) = {
            let held = self.held();
            let is_start = source == Source::Mount && held.is_empty();
            let trial = if is_start { Trial::Unsettled } else { Trial::New };
            (trial, held.unproven().clone())
        };
        let proof = Proof::of(&update, trial, &self.served.load(), &unproven);
        // Held until the swap, so that two operators cannot put an older configuration over a newer one.
        let mut held = self.held();
        let reader = (&self.settings.fleet, ServerVersion::current());
        let outcome = held.apply(update, &proof, reader, &self.served.load());
        match &outcome {
            Ok(applied) => {
                if let Some(served) = &applied.served {
                    self.served.store(Arc::clone(served));
                    tracing::info!(head = %known, rejected = held.rejected().len(), ?source, "configuration is served");
                }
                for (id, refusal) in &applied.refused {
                    tracing::warn!(%id, code = refusal.code, reason = refusal.message, "resource refused");
                }
                let rejected = held.rejected().len();
                self.status.send_modify(|status| {
                    // What an operator confirms needs no file any more; a file never replaces an operator's word.
                    if applied.served.is_some() || source == Source::Stream {
                        status.source = source;
                    }
                    status.head = Some(known);
                    status.known = status.known.max(Some(known));
                    status.confirmed_at = Some(clock::now());
                    status.rejected = rejected;
                    status.problem = None;
                });
            }
            Err(error) => {
                if error.is_newer() {
                    self.status
                        .send_modify(|status| status.known = status.known.max(Some(known)));
                }
                self.report_problem(error);
            }
        }
        outcome
    }

    /// Notes that an operator confirmed what is served.
    fn confirm(&self) {
        self.status.send_modify(|status| {
            status.source = Source::Stream;
            status.confirmed_at = Some(clock::now());
            status.problem = None;
        });
    }

    fn report_problem(&self, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.status.send_if_modified(|status| {
            let is_new = status.problem.as_ref() != Some(&text);
            if is_new {
                tracing::warn!(reason = text, "configuration refused");
                status.problem = Some(text);
            }
            is_new
        });
    }

    fn settle(&self) {
        self.status
            .send_if_modified(|status| !std::mem::replace(&mut status.settled, true));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
