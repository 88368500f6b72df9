//! The ConfigMap with what servers are told at start, as `NAUTHERA_*` variables. Nothing secret and nothing that may
//! change while they run is in it.

use std::collections::BTreeMap;

use crds::auth_server::{Database, Exposure, LogFormat, LogLevel, Tls};
use serde_json::json;

use super::BuildInputs;
use super::pod::{CONFIG, DATA, DATABASE, DATABASE_CA, HEALTH_PORT, HTTP_PORT, PEER, TOKEN};
use crate::build::Desired;
use crate::world::{ChildKind, ObjectKey};

/// How long requests in flight may take after SIGTERM.
pub(super) const DRAIN_SECONDS: u32 = 20;

/// Private networks (RFC 1918, RFC 6598, RFC 4193): where the proxies of a cluster live.
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

/// Name of the ConfigMap.
pub(super) fn name(key: &ObjectKey) -> String {
    format!("{}-settings", key.name)
}

pub(super) fn build(inputs: &BuildInputs<'_>) -> Desired {
    let body = json!({"data": variables(inputs)});
    inputs.child(ChildKind::ConfigMap, name(inputs.key), body)
}

/// The variables.
pub(super) fn variables(inputs: &BuildInputs<'_>) -> BTreeMap<&'static str, String> {
    let spec = &inputs.server.spec;
    let mut variables = BTreeMap::from([
        ("NAUTHERA_LISTEN", format!("0.0.0.0:{HTTP_PORT}")),
        ("NAUTHERA_HEALTH_LISTEN", format!("0.0.0.0:{HEALTH_PORT}")),
        ("NAUTHERA_FLEET", inputs.key.to_string()),
        ("NAUTHERA_CONFIG_DIR", CONFIG.to_owned()),
        ("NAUTHERA_OPERATOR_ADDRESS", inputs.operator.config_address.clone()),
        ("NAUTHERA_PEER_DIR", PEER.to_owned()),
        ("NAUTHERA_TOKEN_FILE", format!("{TOKEN}/token")),
        (
            "NAUTHERA_MAX_STALENESS",
            format!("{}s", spec.max_staleness.as_seconds()),
        ),
        ("NAUTHERA_DRAIN_TIMEOUT", format!("{DRAIN_SECONDS}s")),
        ("NAUTHERA_LOG_LEVEL", level(spec.observability.log_level).to_owned()),
        ("NAUTHERA_LOG_FORMAT", shape(spec.observability.log_format).to_owned()),
    ]);
    match &spec.database {
        Database::Postgres(postgres) => {
            variables.insert("NAUTHERA_DATABASE_POOL", postgres.pool.to_string());
            variables.extend(database(inputs));
        }
        Database::Embedded(_) => variables.extend(database(inputs)),
    }
    let proxies = trusted_proxies(inputs);
    if !proxies.is_empty() {
        variables.insert("NAUTHERA_TRUSTED_PROXIES", proxies.join(","));
    }
    variables
}

/// The variables that say where the database is; all that a migration needs.
pub(super) fn database(inputs: &BuildInputs<'_>) -> BTreeMap<&'static str, String> {
    match &inputs.server.spec.database {
        Database::Postgres(postgres) => {
            let mut variables = BTreeMap::from([("NAUTHERA_DATABASE_DIR", DATABASE.to_owned())]);
            if let Some(ca) = &postgres.ca_secret_ref {
                variables.insert(
                    "NAUTHERA_DATABASE_CA_FILE",
                    format!("{DATABASE_CA}/{}", ca.key.as_str()),
                );
            }
            variables
        }
        Database::Embedded(_) => BTreeMap::from([("NAUTHERA_DATABASE_URL", format!("sqlite://{DATA}/nauthera.db"))]),
    }
}

/// Whose `X-Forwarded-For` and `X-Forwarded-Host` are believed. What ends TLS in front is named by the spec. Where TLS
/// ends at the cluster's own ingress controller or gateway, its pods have private addresses that nobody can list
/// beforehand; without believing them, every person would share one source address and one rate limit.
fn trusted_proxies(inputs: &BuildInputs<'_>) -> Vec<String> {
    match (&inputs.server.spec.tls, &inputs.server.spec.exposure) {
        (Some(Tls::Edge(edge)), _) => edge
            .trusted_proxies
            .iter()
            .map(|cidr| cidr.as_str().to_owned())
            .collect(),
        (_, Exposure::None(_)) => Vec::new(),
        (_, Exposure::Ingress(_) | Exposure::Gateway(_)) => PRIVATE.map(str::to_owned).to_vec(),
    }
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn shape(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    }
}
