//! Prometheus metrics of the operator. Labels are closed sets or names of fleets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::delivery::FleetCounts;
use crate::apply::Call;
use crate::publish::Counters;
use crate::world::ObjectKey;

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

/// A request to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    verb: &'static str,
    resource: String,
    result: CallResult,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum CallResult {
    Success,
    Failure,
}

/// A fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FleetLabel {
    fleet: String,
}

/// Numbers of each fleet.
#[derive(Clone, Default)]
struct Fleets {
    generation: Family<FleetLabel, Gauge>,
    connected: Family<FleetLabel, Gauge>,
    artefact_bytes: Family<FleetLabel, Gauge>,
    written_bytes: Family<FleetLabel, Gauge>,
    commits: Family<FleetLabel, Gauge>,
    stale: Family<FleetLabel, Gauge>,
}

/// All metrics of an operator.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    rounds: Family<RoundLabel, Counter>,
    pub(crate) compile_seconds: Histogram,
    pub(crate) convergence_seconds: Histogram,
    calls: Family<CallLabel, Counter>,
    fleets: Fleets,
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
    pub(crate) streams: Gauge,
    pub(crate) updates: Gauge,
    pub(crate) update_bytes: Gauge,
    pub(crate) rejections: Gauge,
    pub(crate) evictions: Gauge,
    pub(crate) refused_connections: Gauge,
    pub(crate) refused_streams: Gauge,
}

impl Metrics {
    /// `counters` are those of the stream.
    pub(crate) fn new(counters: &Counters) -> Self {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("nauthera_operator");
        let metrics = Self {
            registry: Arc::default(),
            rounds: Family::default(),
            compile_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            convergence_seconds: Histogram::new(exponential_buckets(0.025, 2.0, 14)),
            calls: Family::default(),
            fleets: Fleets::default(),
            objects: Family::default(),
            excluded: Family::default(),
            gauges: Gauges::default(),
        };
        let rounds = metrics.rounds.clone();
        registry.register("rounds", "Rounds of resolving and writing, by result", rounds);
        let help = "Time to resolve the whole world";
        registry.register_with_unit("compile", help, Unit::Seconds, metrics.compile_seconds.clone());
        let help = "Time from the change of an object to the last ready server that serves it";
        registry.register_with_unit("convergence", help, Unit::Seconds, metrics.convergence_seconds.clone());
        let help = "Time from sending a server what differs to its word that it serves that";
        registry.register_with_unit("push", help, Unit::Seconds, counters.push_seconds.clone());
        let help = "Requests to the API server that are not watches, by verb, resource and result";
        registry.register("api_requests", help, metrics.calls.clone());
        registry.register("objects", "Custom resources by kind", metrics.objects.clone());
        let help = "Custom resources that are not served as they are, by reason";
        registry.register("excluded", help, metrics.excluded.clone());
        metrics.fleets.register(registry);
        metrics.gauges.register(registry);
        Self {
            registry: Arc::new(root),
            ..metrics
        }
    }

    /// Counts a request to the API server.
    pub(crate) fn call(&self, call: Call<'_>) {
        let result = if call.succeeded {
            CallResult::Success
        } else {
            CallResult::Failure
        };
        let label = CallLabel {
            verb: call.verb,
            resource: call.resource.to_owned(),
            result,
        };
        self.calls.get_or_create(&label).inc();
    }

    /// Takes the numbers of each fleet; those of fleets that are gone go.
    pub(crate) fn fleets(&self, counts: &BTreeMap<ObjectKey, FleetCounts>) {
        let fleets = &self.fleets;
        let families = [
            &fleets.generation,
            &fleets.connected,
            &fleets.artefact_bytes,
            &fleets.written_bytes,
            &fleets.commits,
            &fleets.stale,
        ];
        for family in families {
            family.clear();
        }
        for (fleet, counts) in counts {
            let values = [
                counts.head.map_or(0, |head| head.generation),
                counts.connected as u64,
                counts.artefact_bytes,
                counts.written_bytes,
                counts.commits,
                counts.stale as u64,
            ];
            let label = FleetLabel {
                fleet: fleet.to_string(),
            };
            for (family, value) in families.into_iter().zip(values) {
                family.get_or_create(&label).set(gauge(value));
            }
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

impl Fleets {
    fn register(&self, registry: &mut Registry) {
        for (name, help, family) in [
            (
                "config_generation",
                "Generation of the committed configuration",
                &self.generation,
            ),
            (
                "connected_servers",
                "Servers that stream from this replica",
                &self.connected,
            ),
            (
                "artefact_bytes",
                "Size of the committed configuration",
                &self.artefact_bytes,
            ),
            (
                "committed_bytes",
                "Bytes that commits of this replica wrote",
                &self.written_bytes,
            ),
            ("commits", "Commits of this replica since its start", &self.commits),
            (
                "stale_servers",
                "Ready servers that have been behind the committed configuration for a minute",
                &self.stale,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            ("leading", "1 while this replica leads", &self.lease_held),
            (
                "watch_restarts",
                "Watches that had to begin anew since the start",
                &self.watch_restarts,
            ),
            ("streams", "Streams that are open", &self.streams),
            ("updates", "Updates sent since the start", &self.updates),
            (
                "update_bytes",
                "Bytes of resources sent since the start",
                &self.update_bytes,
            ),
            (
                "rejections",
                "Resources that servers refused since the start",
                &self.rejections,
            ),
            (
                "evictions",
                "Streams dropped because their peer was slow or silent",
                &self.evictions,
            ),
            (
                "refused_connections",
                "Connections refused in the handshake",
                &self.refused_connections,
            ),
            (
                "refused_streams",
                "Streams refused after the handshake",
                &self.refused_streams,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let help = "Memory that this process holds";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, self.memory.clone());
    }

    /// Copies what the publisher counts.
    pub(crate) fn take(&self, counters: &Counters) {
        for (gauge_of, counter) in [
            (&self.streams, &counters.streams),
            (&self.updates, &counters.updates),
            (&self.update_bytes, &counters.update_bytes),
            (&self.rejections, &counters.rejections),
            (&self.evictions, &counters.evictions),
            (&self.refused_connections, &counters.refused_connections),
            (&self.refused_streams, &counters.refused_streams),
        ] {
            gauge_of.set(gauge(counter.load(Ordering::Relaxed)));
        }
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `VmRSS` of this process; 0 where the kernel does not tell.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u32>().ok());
    f64::from(kibibytes.unwrap_or(0)) * 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_lists_every_metric() {
        let page = include_str!("../../../docs/operations.md");
        let text = Metrics::new(&Counters::default()).render();
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
        let missing: Vec<&str> = names.filter(|name| !page.contains(&format!("`{name}"))).collect();
        assert!(missing.is_empty(), "docs/operations.md lacks {missing:?}");
    }
}
