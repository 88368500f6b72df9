//! The tables of growth, convergence and peers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Report, Unit};
use crate::growth::number;

const MIB: f64 = 1_048_576.0;

/// A column: its heading, the series it shows, and what a value is divided by.
type Column = (&'static str, &'static str, f64);

const SERVER: &[Column] = &[
    ("tokens/CPU-s", "tokens_per_cpu_second", 1.0),
    ("of the smallest", "ratio_to_smallest", 0.01),
    ("lowest", "ratio_to_smallest_lowest", 0.01),
    ("highest", "ratio_to_smallest_highest", 0.01),
    ("RSS untouched, MiB", "untouched_bytes", MIB),
    ("RSS in use, MiB", "touched_bytes", MIB),
    ("first use, CPU-µs", "first_use_us", 1.0),
    ("ready, ms", "ready_ms", 1.0),
    ("artefact, KiB", "artefact_bytes", 1024.0),
];
const OPERATOR: &[Column] = &[
    ("compile, ms", "compile_ms", 1.0),
    ("operator RSS, MiB", "operator_bytes", MIB),
];

/// What a number of the convergence is, in the order of the table.
const CONVERGENCE: &[(&str, &str)] = &[
    ("median_ms", "edit → status \"live on every ready replica\": median, ms"),
    ("p99_ms", "the same: 99th percentile, ms"),
    ("slowest_ms", "the same: slowest, ms"),
    (
        "operator_mean_ms",
        "the operator's own measure (change seen → last acknowledgement): mean, ms",
    ),
    ("servers", "connected servers"),
    ("clients", "Clients"),
    ("edits", "edits"),
    ("resource_bytes_per_server", "resources sent, bytes per server and edit"),
    (
        "stream_bytes_per_server",
        "all bytes on the stream, TLS and heartbeats included, per server and edit",
    ),
    ("operator_cpu_ms_per_edit", "CPU of the operator, ms per edit"),
    (
        "server_cpu_ms_per_edit",
        "CPU of a server, ms per edit (background work included)",
    ),
    ("server_rss_mib", "RSS of a connected server, MiB"),
];

/// What a user plans with: the flow or number, and what it is called.
const SHORT: &[(&str, &str)] = &[
    ("client_credentials_es256", "tokens in a client's own name, ES256"),
    ("client_credentials_rs256", "the same, RS256"),
    ("jwks", "JWKS"),
    ("introspection_jwt", "introspection"),
    ("userinfo", "userinfo"),
    (
        "code_pkce_session",
        "codes and their tokens, for somebody who is signed in",
    ),
    ("refresh_postgres", "refreshed tokens, on PostgreSQL"),
    ("password_login", "sign-ins with a password"),
];

/// What one core and one megabyte give.
fn short(report: &Report) -> String {
    let rate = |(key, meaning): &(&str, &str)| {
        let flow = report.flows.get(*key)?;
        let unit = match flow.unit {
            Unit::CpuSecond => "per CPU-second",
            Unit::WallSecond => "per second, with the database on the machine",
        };
        Some(format!("| {meaning} | {} {unit} |\n", digits(flow.ours)))
    };
    let size = |name: &str| {
        report
            .server
            .get(name)
            .map(|bytes| format!("{} KB", digits(bytes / 1000.0)))
    };
    let idle = report
        .memory
        .get("idle_rss")
        .map(|bytes| format!("{} MB", digits(number(*bytes) / 1e6)));
    let time = |milliseconds: f64| format!("{} ms", digits(milliseconds));
    let convergence = |name: &str| report.convergence.get(name).copied().map(time);
    let facts = [
        ("memory of an idle server", idle),
        ("memory of a further client", size("client_bytes")),
        (
            "memory of a further realm that nobody uses",
            size("untouched_realm_bytes"),
        ),
        ("memory of a further realm in use", size("touched_realm_bytes")),
        ("start: from exec to ready, 1 000 clients", report.start_ms.map(time)),
        (
            "an edit, until it is live on 50 servers: median",
            convergence("median_ms"),
        ),
        ("the same: 99th percentile", convergence("p99_ms")),
    ];
    let facts = facts
        .into_iter()
        .filter_map(|(meaning, value)| Some(format!("| {meaning} | {} |\n", value?)));
    let rows: Vec<String> = SHORT.iter().filter_map(rate).chain(facts).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n## In short\n\n| | |\n|---|---:|\n{}", rows.concat())
}

pub(super) fn render(report: &Report) -> String {
    let mut text = short(report);
    for (axis, heading) in [
        ("realms", "Growth by realms (one client each)"),
        ("clients", "Growth by clients (of one realm)"),
    ] {
        text += &table(report, heading, axis, SERVER);
    }
    for (axis, heading) in [
        ("realms", "The operator by realms (100 clients)"),
        ("clients", "The operator by clients (10 realms)"),
    ] {
        text += &table(report, heading, axis, OPERATOR);
    }
    if !report.convergence.is_empty() {
        text += "\n## Convergence\n\n| | |\n|---|---:|\n";
        for (key, meaning) in CONVERGENCE {
            if let Some(value) = report.convergence.get(*key) {
                line(&mut text, format_args!("| {meaning} | {} |", digits(*value)));
            }
        }
    }
    text + &peers(&report.peers)
}

fn table(report: &Report, heading: &str, axis: &str, columns: &[Column]) -> String {
    let series = |name: &str| report.growth.get(&format!("{name}_by_{axis}"));
    let shown: Vec<&Column> = columns.iter().filter(|(_, name, _)| series(name).is_some()).collect();
    let (Some((_, first, _)), [_, ..]) = (shown.first(), shown.as_slice()) else {
        return String::new();
    };
    let headings: Vec<&str> = shown.iter().map(|(heading, ..)| *heading).collect();
    let mut text = format!(
        "\n## {heading}\n\n| {axis} | {} |\n|---:{}|\n",
        headings.join(" | "),
        "|---:".repeat(shown.len())
    );
    for (size, _) in series(first).into_iter().flatten() {
        let cell = |(_, name, unit): &&Column| {
            let points = series(name).into_iter().flatten();
            let found = points.into_iter().find(|(other, _)| other.total_cmp(size).is_eq());
            found.map_or("–".to_owned(), |(_, value)| digits(value / unit))
        };
        let cells: Vec<String> = shown.iter().map(cell).collect();
        line(&mut text, format_args!("| {size} | {} |", cells.join(" | ")));
    }
    text
}

fn peers(peers: &BTreeMap<String, BTreeMap<String, f64>>) -> String {
    if peers.is_empty() {
        return String::new();
    }
    let names: Vec<&String> = peers.keys().collect();
    let whats: BTreeSet<&String> = peers.values().flat_map(BTreeMap::keys).collect();
    let columns: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let mut text = format!(
        "\n## Peers\n\n| | {} |\n|---{}|\n",
        columns.join(" | "),
        "|---:".repeat(names.len())
    );
    for what in whats {
        let cell = |numbers: &BTreeMap<String, f64>| numbers.get(what).map_or("–".to_owned(), |value| digits(*value));
        let cells: Vec<String> = peers.values().map(cell).collect();
        line(&mut text, format_args!("| {what} | {} |", cells.join(" | ")));
    }
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{words}");
}

/// As many digits as a reader needs.
fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Flow;
    use super::*;

    #[test]
    fn tables_have_a_row_for_each_size_and_a_column_for_each_server() {
        let mut report = Report::default();
        let points = vec![(1.0, 20_000.0), (100.0, 19_000.0)];
        report
            .growth
            .insert("tokens_per_cpu_second_by_realms".to_owned(), points);
        report
            .growth
            .insert("untouched_bytes_by_realms".to_owned(), vec![(1.0, 2.0 * MIB)]);
        report.convergence.insert("median_ms".to_owned(), 210.4);
        for (server, rate) in [("keycloak", 2_000.0), ("nauthera", 16_000.0)] {
            report
                .peers
                .entry(server.to_owned())
                .or_default()
                .insert("jwks".to_owned(), rate);
        }
        report.flows.insert(
            "jwks".to_owned(),
            Flow {
                ours: 30_000.0,
                ..Flow::default()
            },
        );
        report.server.insert("client_bytes".to_owned(), 3_100.0);
        let text = render(&report);
        for line in [
            "| 1 | 20000 | 2.00 |",
            "| 100 | 19000 | – |",
            "| jwks | 2000 | 16000 |",
            "| | keycloak | nauthera |",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.contains("median, ms | 210 |"), "{text}");
        assert_eq!(render(&Report::default()), "");
    }
}
