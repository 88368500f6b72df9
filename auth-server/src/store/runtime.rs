//! The store's own runtime: connections are opened and driven here, because the threads that serve requests are
//! single-threaded runtimes that a driver would share with password forms and token requests.

use tokio::runtime::{Builder, Handle};

/// A runtime with one thread. Dropping it does not wait, so it may be dropped anywhere.
#[derive(Debug)]
pub(super) struct Runtime {
    handle: Handle,
    owned: Option<tokio::runtime::Runtime>,
}

impl Runtime {
    pub(super) fn start() -> std::io::Result<Self> {
        let owned = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: owned.handle().clone(),
            owned: Some(owned),
        })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(owned) = self.owned.take() {
            owned.shutdown_background();
        }
    }
}
