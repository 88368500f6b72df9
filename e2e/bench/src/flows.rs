//! Each flow of the server beside its ceiling, in rounds that take turns.

use anyhow::Result;

use crate::{Settings, machine, report::Report};

/// Measures every flow that is asked for and writes the report.
pub fn run(settings: &Settings) -> Result<()> {
    let mut report = Report::load(&settings.out)?;
    report.machine = machine::facts();
    report.save(&settings.out)
}
