//! Tells when the files of a folder have changed and settled down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Config, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::world::folder::is_manifest;

/// A change is taken when nothing more has happened for this long,
const QUIET: Duration = Duration::from_millis(100);

/// or when changes have gone on for this long.
const LONGEST: Duration = Duration::from_secs(5);

/// Where the system cannot tell, files are looked at this often.
const POLL: Duration = Duration::from_secs(1);

/// Watches folders; lives as long as it is to watch.
pub(super) struct Watch {
    changes: mpsc::UnboundedReceiver<()>,
    /// When a change that was noticed has to be taken; kept here, so that a call of `changed` that is
    /// dropped half-way (another branch of a `select!` was faster) forgets nothing.
    latest: Option<Instant>,
    _watcher: Box<dyn Watcher + Send>,
}

impl Watch {
    pub(super) fn new(roots: &[PathBuf]) -> notify::Result<Self> {
        let (sender, changes) = mpsc::unbounded_channel();
        let handler = move |event: notify::Result<notify::Event>| {
            // An error may stand for changes that were lost.
            if event.as_ref().map_or(true, is_relevant) {
                let _ = sender.send(());
            }
        };
        let watcher: Box<dyn Watcher + Send> = match Self::start::<RecommendedWatcher>(roots, handler.clone()) {
            Ok(watcher) => Box::new(watcher),
            Err(_) => Box::new(Self::start::<PollWatcher>(roots, handler)?),
        };
        Ok(Self {
            changes,
            latest: None,
            _watcher: watcher,
        })
    }

    fn start<W: Watcher>(
        roots: &[PathBuf],
        handler: impl FnMut(notify::Result<notify::Event>) + Send + 'static,
    ) -> notify::Result<W> {
        let mut watcher = W::new(handler, Config::default().with_poll_interval(POLL))?;
        for root in roots {
            watcher.watch(root, RecursiveMode::Recursive)?;
        }
        Ok(watcher)
    }

    /// Returns once files have changed and settled down. May be dropped and called again at any time.
    pub(super) async fn changed(&mut self) {
        let latest = if let Some(latest) = self.latest {
            latest
        } else {
            if self.changes.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            *self.latest.insert(Instant::now() + LONGEST)
        };
        loop {
            let quiet = (Instant::now() + QUIET).min(latest);
            match timeout_at(quiet, self.changes.recv()).await {
                Ok(Some(())) if Instant::now() < latest => {}
                Ok(_) => {
                    sleep_until(quiet).await;
                    break;
                }
                Err(_) => break,
            }
        }
        self.latest = None;
    }
}

/// Reading a file is an event, too; editors write temporary ones.
fn is_relevant(event: &notify::Event) -> bool {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let is_folder = |path: &Path| path.extension().is_none();
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => event
            .paths
            .iter()
            .any(|path| is_folder(path) || name(path).is_some_and(|name| is_manifest(&name))),
    }
}
