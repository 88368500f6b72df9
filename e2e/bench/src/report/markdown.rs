//! The report as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Flow, Report, Unit};

pub(super) fn render(report: &Report) -> String {
    let mut text = String::from("# Benchmark\n\n");
    for (name, value) in &report.machine {
        line(&mut text, &format!("- {name}: {value}"));
    }
    if !report.flows.is_empty() {
        flows(&mut text, report);
    }
    if !report.profile.is_empty() {
        profile(&mut text, report);
    }
    numbers(
        &mut text,
        "The server",
        report.server.iter().map(|(name, value)| (name, *value)),
    );
    let memory = report.memory.iter().map(|(name, bytes)| (name, mebibytes(*bytes)));
    numbers(&mut text, "Memory (MiB)", memory);
    if let Some(start) = report.start_ms {
        line(&mut text, &format!("\n## Start\n\nFrom exec to ready: {start:.0} ms."));
    }
    text
}

fn flows(text: &mut String, report: &Report) {
    line(
        text,
        "\n## Flows\n\nUnits per second of the server's CPU time (or of the clock, where it says so), medians of interleaved \
         rounds; in parentheses the lowest and highest ratio. Latencies in an open loop at 70 % of the own maximum; the last but \
         one column is the ceiling's, at 70 % of its own.\n",
    );
    line(
        text,
        "| flow | ours | ceiling | beside | ratio | p50 ms | p99 ms | p99/p50 | of the ceiling | statements |",
    );
    line(text, "|---|---:|---:|---|---:|---:|---:|---:|---:|---:|");
    for (name, flow) in &report.flows {
        line(text, &row(name, flow));
    }
}

fn row(name: &str, flow: &Flow) -> String {
    let per = match flow.unit {
        Unit::CpuSecond => "",
        Unit::WallSecond => " /s wall",
    };
    let [lowest, highest] = flow.ratio_spread;
    let tail = |p50: f64, p99: f64| (p50 > 0.0).then(|| format!("{:.1}", p99 / p50));
    let none = || "–".to_owned();
    let ours = tail(flow.p50_ms, flow.p99_ms).unwrap_or_else(none);
    let ceiling = tail(flow.ceiling_p50_ms, flow.ceiling_p99_ms).unwrap_or_else(none);
    let milliseconds = |value: f64| {
        if value > 0.0 { format!("{value:.3}") } else { none() }
    };
    format!(
        "| {name} | {}{per} | {}{per} | {} | **{:.0} %** ({:.0}–{:.0}) | {} | {} | {ours} | {ceiling} | {:.2} |",
        rate(flow.ours),
        rate(flow.ceiling),
        flow.beside,
        flow.ratio * 100.0,
        lowest * 100.0,
        highest * 100.0,
        milliseconds(flow.p50_ms),
        milliseconds(flow.p99_ms),
        flow.statements,
    )
}

/// Areas down, flows across.
fn profile(text: &mut String, report: &Report) {
    line(
        text,
        "\n## Where the time goes\n\nPercent of the samples of the server's stacks.\n",
    );
    let areas: BTreeSet<&String> = report.profile.values().flat_map(BTreeMap::keys).collect();
    let flows: Vec<&str> = report.profile.keys().map(String::as_str).collect();
    line(text, &format!("| | {} |", flows.join(" | ")));
    line(text, &format!("|---|{}", "---:|".repeat(flows.len())));
    for area in areas {
        let share = |shares: &BTreeMap<String, f64>| format!("{:.0}", shares.get(area).copied().unwrap_or_default());
        let shares: Vec<String> = report.profile.values().map(share).collect();
        line(text, &format!("| {area} | {} |", shares.join(" | ")));
    }
}

/// A rate with as many digits as it needs.
fn rate(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn numbers<'a>(text: &mut String, title: &str, numbers: impl Iterator<Item = (&'a String, f64)>) {
    let rows: Vec<String> = numbers
        .map(|(name, value)| format!("| {name} | {value:.2} |"))
        .collect();
    if !rows.is_empty() {
        line(text, &format!("\n## {title}\n\n| | |\n|---|---:|\n{}", rows.join("\n")));
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn line(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}
