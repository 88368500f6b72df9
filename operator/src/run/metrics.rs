//! Prometheus metrics of the operator. Labels are closed sets or names of fleets.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    pub(crate) kind: &'static str,
}

/// Objects that are not served as they are, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ExcludedLabel {
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum RoundResult {
    /// Everything is as it should be.
    Done,
    /// Something is tried again.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoundLabel {
    result: RoundResult,
}

/// All metrics of an operator.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    rounds: Family<RoundLabel, Counter>,
    pub(crate) compile_seconds: Histogram,
    pub(crate) objects: Family<KindLabel, Gauge>,
    pub(crate) excluded: Family<ExcludedLabel, Gauge>,
    pub(crate) gauges: Gauges,
}

/// Values copied from their owners when somebody scrapes.
#[derive(Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) lease_held: Gauge,
    pub(crate) watch_restarts: Gauge,
    pub(crate) memory: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("nauthera_operator");
        let rounds = Family::<RoundLabel, Counter>::default();
        registry.register("rounds", "Rounds of resolving and writing, by result", rounds.clone());
        let compile_seconds = Histogram::new(exponential_buckets(0.000_5, 2.0, 14));
        let help = "Time to resolve the whole world";
        registry.register_with_unit("compile", help, Unit::Seconds, compile_seconds.clone());
        let objects = Family::<KindLabel, Gauge>::default();
        registry.register("objects", "Custom resources by kind", objects.clone());
        let excluded = Family::<ExcludedLabel, Gauge>::default();
        let help = "Custom resources that are not served as they are, by reason";
        registry.register("excluded", help, excluded.clone());
        let gauges = Gauges::default();
        registry.register("leading", "1 while this replica leads", gauges.lease_held.clone());
        registry.register(
            "watch_restarts",
            "Watches that had to begin anew since the start",
            gauges.watch_restarts.clone(),
        );
        let help = "Memory that this process holds";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, gauges.memory.clone());
        Self {
            registry: Arc::new(root),
            rounds,
            compile_seconds,
            objects,
            excluded,
            gauges,
        }
    }

    pub(crate) fn round(&self, result: RoundResult) {
        self.rounds.get_or_create(&RoundLabel { result }).inc();
    }

    /// OpenMetrics text.
    pub(crate) fn render(&self) -> String {
        self.gauges.memory.set(resident_bytes());
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// `VmRSS` of this process; 0 where the kernel does not tell.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u32>().ok());
    f64::from(kibibytes.unwrap_or(0)) * 1024.0
}
