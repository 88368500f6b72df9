//! The plots of the report, as SVG files.

mod axis;
mod chart;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::report::Report;
use axis::{Axis, Scale};
use chart::{Chart, Markers, Series, svg};

const MIB: f64 = 1_048_576.0;

/// Draws every plot for which the report has numbers into `folder`.
pub fn draw(report: &Report, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, chart) in [
        ("growth-cost", cost(report)),
        ("growth-memory", memory(report)),
        ("growth-compile", compile(report)),
        ("convergence", convergence(report)),
    ] {
        if chart.series.iter().any(|series| !series.points.is_empty()) {
            let path = folder.join(format!("{name}.svg"));
            std::fs::write(&path, svg(&chart)).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn cost(report: &Report) -> Chart {
    Chart {
        title: "What a token costs, with more realms and clients",
        x: Axis::new(
            "realms with one client each, or clients of one realm",
            Scale::Logarithmic,
        ),
        y: Axis::new("tokens per server CPU-second", Scale::FromZero),
        series: vec![
            series(report, "tokens_per_cpu_second_by_realms", "by realms", 1.0),
            series(report, "tokens_per_cpu_second_by_clients", "by clients", 1.0),
        ],
        marks: Vec::new(),
    }
}

fn memory(report: &Report) -> Chart {
    Chart {
        title: "What a server holds, with more realms and clients",
        x: Axis::new(
            "realms with one client each, or clients of one realm",
            Scale::Logarithmic,
        ),
        y: Axis::new("resident memory, MiB", Scale::FromZero),
        series: vec![
            series(report, "untouched_bytes_by_realms", "realms, untouched", MIB),
            series(report, "touched_bytes_by_realms", "realms, each in use", MIB),
            series(report, "untouched_bytes_by_clients", "clients", MIB),
        ],
        marks: Vec::new(),
    }
}

fn compile(report: &Report) -> Chart {
    Chart {
        title: "How long the operator compiles after an edit",
        x: Axis::new(
            "realms (with 100 clients), or clients (of 10 realms)",
            Scale::Logarithmic,
        ),
        y: Axis::new("milliseconds to resolve and encode everything", Scale::FromZero),
        series: vec![
            series(report, "compile_ms_by_realms", "by realms", 1.0),
            series(report, "compile_ms_by_clients", "by clients", 1.0),
        ],
        marks: Vec::new(),
    }
}

fn convergence(report: &Report) -> Chart {
    let mut distribution = series(report, "convergence_percent_by_ms", "edits", 1.0);
    distribution.markers = Markers::None;
    Chart {
        title: "From an edit to its status: live on all 50 servers",
        x: Axis::new(
            "milliseconds since the edit was sent to the API server",
            Scale::FromZero,
        ),
        y: Axis::new("percent of all edits", Scale::FromZero),
        series: vec![distribution],
        marks: Vec::new(),
    }
}

/// A series of the report with its values divided by `unit`.
fn series(report: &Report, key: &str, name: &'static str, unit: f64) -> Series {
    let points = report.growth.get(key).into_iter().flatten();
    Series {
        name,
        points: points.map(|(size, value)| (*size, value / unit)).collect(),
        markers: Markers::Each,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_drawn() {
        let mut report = Report::default();
        let points = vec![(1.0, 20_000.0), (10_000.0, 19_000.0)];
        report
            .growth
            .insert("tokens_per_cpu_second_by_realms".to_owned(), points);
        let folder = tempfile::tempdir().unwrap();
        draw(&report, folder.path()).unwrap();
        let drawn: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(drawn.len(), 1);
        let svg = std::fs::read_to_string(folder.path().join("growth-cost.svg")).unwrap();
        assert!(svg.contains("tokens per server CPU-second"), "{svg}");
    }
}
