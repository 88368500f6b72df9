//! The result: a JSON document for machines and a Markdown table for people.
//!
//! Parts of the benchmark that run on their own (`growth`, `peers`) read the document, replace their part and write it
//! again. Rates are rounded to four digits: more would claim a precision that no run has.

mod growth;
mod markdown;
mod progress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use self::progress::Progress;

/// Everything that was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it was measured on.
    pub machine: BTreeMap<String, String>,
    /// Each flow beside its ceiling.
    pub flows: BTreeMap<String, Flow>,
    /// Numbers that hold for a whole server: statements, hash workers, what others feel of a login storm.
    #[serde(default)]
    pub server: BTreeMap<String, f64>,
    /// Bytes of the server by situation (`idle_rss`, `load_rss` …).
    pub memory: BTreeMap<String, u64>,
    /// From exec to ready.
    pub start_ms: Option<f64>,
    /// How fast an edit arrives (`median_ms`, `p99_ms`, `bytes_per_server` …).
    pub convergence: BTreeMap<String, f64>,
    /// What costs more with more realms and clients: by series, points of (size, value).
    #[serde(default)]
    pub growth: BTreeMap<String, Vec<(f64, f64)>>,
    /// Other servers under the same load, by name, then by flow.
    #[serde(default)]
    pub peers: BTreeMap<String, BTreeMap<String, f64>>,
    /// Where the server's time goes: by flow, percent of the samples by what was done.
    #[serde(default)]
    pub profile: BTreeMap<String, BTreeMap<String, f64>>,
}

/// One flow beside its ceiling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// What `ours` and `ceiling` count.
    pub unit: Unit,
    /// What the ceiling is.
    pub beside: String,
    /// Units a second of our server: the median of the rounds.
    pub ours: f64,
    /// Of the ceiling, from rounds between ours.
    pub ceiling: f64,
    /// `ours` / `ceiling`: the median of the ratios of neighbouring rounds.
    pub ratio: f64,
    /// The lowest and the highest of these ratios.
    pub ratio_spread: [f64; 2],
    /// The lowest and the highest of our rounds.
    pub ours_spread: [f64; 2],
    /// The lowest and the highest of the ceiling's rounds.
    pub ceiling_spread: [f64; 2],
    /// The rate that the latencies were measured at: 70 % of our own maximum, a second.
    pub open_rate: f64,
    /// Half of all units took at most this.
    pub p50_ms: f64,
    /// 99 of 100 took at most this.
    pub p99_ms: f64,
    /// The same of the ceiling, at 70 % of its own maximum: what this machine makes of any program. 0 where it has none.
    #[serde(default)]
    pub ceiling_p50_ms: f64,
    /// 99 of 100 of the ceiling's took at most this.
    #[serde(default)]
    pub ceiling_p99_ms: f64,
    /// Statements to the database a unit.
    pub statements: f64,
}

/// What a rate is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A second of CPU time, user and system, of the server (or of the program that is the ceiling).
    #[default]
    CpuSecond,
    /// A second of the clock.
    WallSecond,
}

impl Report {
    /// The report in `folder`; an empty one when there is none.
    pub fn load(folder: &Path) -> Result<Self> {
        match std::fs::read(json_file(folder)) {
            Ok(bytes) => serde_json::from_slice(&bytes).context("bench.json is not a report"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context("reading bench.json"),
        }
    }

    /// Writes `bench.json` and `bench.md` into `folder`.
    pub fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(json_file(folder), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(folder.join("bench.md"), self.markdown())?;
        Ok(())
    }

    /// The tables.
    pub fn markdown(&self) -> String {
        markdown::render(self) + &growth::render(self)
    }
}

fn json_file(folder: &Path) -> PathBuf {
    folder.join("bench.json")
}

/// The middle one; of an even number, the mean of the two in the middle. 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, *upper),
        (Some(only), _) => *only,
        (None, _) => 0.0,
    }
}

/// The lowest and the highest. Zeros of none.
pub fn spread(values: &[f64]) -> [f64; 2] {
    let lowest = values.iter().copied().min_by(f64::total_cmp);
    let highest = values.iter().copied().max_by(f64::total_cmp);
    [lowest.unwrap_or(0.0), highest.unwrap_or(0.0)]
}

/// To four significant digits.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(3.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(
            (median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0]), median(&[])),
            (2.0, 2.5, 0.0)
        );
        assert_eq!((spread(&[3.0, 1.0, 2.0]), spread(&[])), ([1.0, 3.0], [0.0, 0.0]));
    }

    #[test]
    fn four_digits_stay() {
        assert_eq!(
            [12_345.6, 0.123_456, 0.0, 99_999.0].map(|value| rounded(value).to_string()),
            ["12350", "0.1235", "0", "100000"]
        );
    }

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::load(folder.path()).unwrap();
        report.flows.insert("jwks".into(), Flow::default());
        report.save(folder.path()).unwrap();
        let mut again = Report::load(folder.path()).unwrap();
        again.start_ms = Some(120.0);
        again.save(folder.path()).unwrap();
        report.start_ms = Some(120.0);
        assert_eq!(Report::load(folder.path()).unwrap(), report);
    }
}
