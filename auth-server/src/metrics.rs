//! Prometheus metrics. Labels are closed sets, so no request can add a time series.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::http::Endpoint;

/// Labels of one HTTP exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Exchange {
    /// Name of the endpoint in the route table, or `none`.
    pub(crate) endpoint: &'static str,
    /// Status code.
    pub(crate) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabel {
    method: &'static str,
    result: LoginResult,
}

/// How a login attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum LoginResult {
    /// The person is signed in.
    Success,
    /// Wrong credentials, or nobody of that name.
    Failure,
    /// Too many attempts.
    Throttled,
    /// Hashing is saturated or the database is away.
    Unavailable,
}

/// The statuses that endpoints answer with. Others are counted as well, only slower.
const STATUSES: [u16; 14] = [200, 204, 303, 304, 400, 401, 403, 404, 405, 413, 415, 422, 429, 503];

/// The series of one endpoint, each found by its labels once: looking them up takes a lock and a hash.
#[derive(Default)]
struct Series {
    requests: [OnceLock<Counter>; STATUSES.len()],
    seconds: OnceLock<Histogram>,
}

/// All metrics of a server. Reading gauges that live elsewhere happens at scrape time.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Exchange, Counter>,
    seconds: Family<EndpointLabel, Histogram, fn() -> Histogram>,
    /// By [`Endpoint::index`]; the last one is of requests that belong to no endpoint.
    series: Arc<[Series; Endpoint::COUNT + 1]>,
    logins: Family<LoginLabel, Counter>,
    erasures: Erasures,
    gauges: Gauges,
}

/// What was erased of realms that are gone.
#[derive(Clone, Default)]
pub(crate) struct Erasures {
    pub(crate) realms: Counter,
    pub(crate) rows: Counter,
}

/// Values copied from their owners when somebody scrapes.
#[derive(Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) config_generation: Gauge,
    pub(crate) config_connected: Gauge,
    pub(crate) config_rejected: Gauge,
    pub(crate) realms: Gauge,
    pub(crate) revocations: Gauge,
    pub(crate) revocation_age: Gauge<f64, AtomicU64>,
    pub(crate) hash_queue: Gauge,
    pub(crate) database_statements: Gauge,
    pub(crate) password_hashes: Gauge,
    pub(crate) signatures: Gauge,
    pub(crate) ready: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("nauthera");
        let requests = Family::<Exchange, Counter>::default();
        registry.register(
            "http_requests",
            "HTTP exchanges by endpoint and status",
            requests.clone(),
        );
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_5, 2.0, 14));
        let seconds = Family::new_with_constructor(histogram);
        registry.register_with_unit(
            "http_request_duration",
            "Time from request to response",
            Unit::Seconds,
            seconds.clone(),
        );
        let logins = Family::<LoginLabel, Counter>::default();
        registry.register("logins", "Login attempts by method and result", logins.clone());
        let erasures = Erasures::default();
        registry.register(
            "erased_realms",
            "Realms that are gone and of which this server erased the last row",
            erasures.realms.clone(),
        );
        registry.register(
            "erased_rows",
            "Rows of realms that are gone that this server erased",
            erasures.rows.clone(),
        );
        let gauges = Gauges::default();
        registry.register(
            "config_generation",
            "Generation of the configuration that is served",
            gauges.config_generation.clone(),
        );
        registry.register(
            "config_connected",
            "Operators that stream to this server",
            gauges.config_connected.clone(),
        );
        registry.register(
            "config_rejected",
            "Resources that this server refused",
            gauges.config_rejected.clone(),
        );
        registry.register("realms", "Realms that are served", gauges.realms.clone());
        registry.register("revocations", "Revocations in memory", gauges.revocations.clone());
        registry.register_with_unit(
            "revocations_age",
            "Time since revocations were complete",
            Unit::Seconds,
            gauges.revocation_age.clone(),
        );
        registry.register(
            "password_hash_queue",
            "Password hashes that wait or run",
            gauges.hash_queue.clone(),
        );
        registry.register(
            "database_statements",
            "Statements sent to the database since start",
            gauges.database_statements.clone(),
        );
        registry.register(
            "password_hashes",
            "Password hashes computed since start",
            gauges.password_hashes.clone(),
        );
        registry.register(
            "signatures",
            "Signatures made with the keys that are served now",
            gauges.signatures.clone(),
        );
        registry.register("ready", "1 while this server is ready", gauges.ready.clone());
        Self {
            registry: Arc::new(root),
            requests,
            seconds,
            series: Arc::default(),
            logins,
            erasures,
            gauges,
        }
    }

    /// Counts one HTTP exchange; `None` is an address that belongs to no endpoint.
    pub(crate) fn exchange(&self, endpoint: Option<Endpoint>, status: u16, took: Duration) {
        let name = endpoint.map_or("none", Endpoint::name);
        let Some(series) = self.series.get(endpoint.map_or(Endpoint::COUNT, Endpoint::index)) else {
            return;
        };
        let labels = Exchange { endpoint: name, status };
        let known = STATUSES.iter().position(|known| *known == status);
        match known.and_then(|at| series.requests.get(at)) {
            Some(counter) => counter.get_or_init(|| self.requests.get_or_create_owned(&labels)).inc(),
            None => self.requests.get_or_create(&labels).inc(),
        };
        series
            .seconds
            .get_or_init(|| self.seconds.get_or_create_owned(&EndpointLabel { endpoint: name }))
            .observe(took.as_secs_f64());
    }

    pub(crate) fn login(&self, method: &'static str, result: LoginResult) {
        self.logins.get_or_create(&LoginLabel { method, result }).inc();
    }

    pub(crate) fn erasures(&self) -> &Erasures {
        &self.erasures
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// OpenMetrics text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_lists_every_metric() {
        let page = include_str!("../../docs/operations.md");
        let text = Metrics::new().render();
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
        let missing: Vec<&str> = names.filter(|name| !page.contains(&format!("`{name}"))).collect();
        assert!(missing.is_empty(), "docs/operations.md lacks {missing:?}");
    }
}
