//! Probes: three different questions, answered truthfully.
//!
//! *Live*: the process runs its loop. *Started* and *ready*: it holds a verified configuration and one complete read of
//! the revocations, and its clock agrees with the database's. A database lost later degrades but never unreadies, for
//! discovery, JWKS and token checks go on; nor does the operator matter once a configuration is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// What readiness is made of; each closure reads a live value.
#[derive(Clone)]
pub(crate) struct Readiness {
    draining: Arc<AtomicBool>,
    reasons: Arc<dyn Fn() -> Report + Send + Sync>,
}

/// Why a server is not ready, and what works only partly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// What keeps the server from being ready; empty when it is.
    pub(crate) not_ready: Vec<String>,
    /// What works only partly, although the server is ready.
    pub(crate) degraded: Vec<String>,
    /// The configuration that is served.
    pub(crate) configuration: Option<ServedConfiguration>,
}

/// Which configuration is served, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServedConfiguration {
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    /// `mount`: read from the folder at start; `stream`: from an operator.
    pub(crate) source: &'static str,
    pub(crate) realms: usize,
}

impl Readiness {
    pub(crate) fn new(reasons: impl Fn() -> Report + Send + Sync + 'static) -> Self {
        Self {
            draining: Arc::default(),
            reasons: Arc::new(reasons),
        }
    }

    /// From now on not ready: requests in flight end, new ones go elsewhere.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn report(&self) -> Report {
        let mut report = (self.reasons)();
        if self.draining.load(Ordering::Acquire) {
            report
                .not_ready
                .push("draining: this server is about to stop".to_owned());
        }
        report
    }
}

/// What a probe answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Live,
    Ready,
    Started,
    Metrics,
}

impl Probe {
    /// The probe behind a path of the health listener.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/livez" => Some(Self::Live),
            "/readyz" => Some(Self::Ready),
            "/startupz" => Some(Self::Started),
            "/metrics" => Some(Self::Metrics),
            _ => None,
        }
    }
}
