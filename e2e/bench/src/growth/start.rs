//! From exec to ready, from the mounted shards, with nobody to dial.

use std::time::Duration;

use anyhow::Result;

use super::tenants::{self, Size};
use crate::pinned::CpuPlan;
use crate::report::{Report, median, rounded, spread};
use crate::server::{Server, ServerPlan};
use crate::{fleet, server};

/// How many starts.
const STARTS: usize = 15;
/// What they take together, about.
pub(super) const TAKES: Duration = Duration::from_secs(20);

/// A fleet of ten realms.
const SIZE: Size = Size {
    realms: 10,
    clients: 1_000,
};

/// Starts a server again and again. The time includes the probe, which asks every millisecond.
pub(super) fn measure(cpus: &CpuPlan, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plan = ServerPlan {
        config_dir: folder.path().join("config"),
        database_url: server::sqlite(folder.path())?,
        database_pool: 1,
        cpus: cpus.server.clone(),
        log: folder.path().join("log"),
        more: Vec::new(),
    };
    fleet::write(&plan.config_dir, tenants::resources(SIZE)?)?;
    let (mut clock, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let server = Server::start(&plan)?;
        clock.push(server.started().as_secs_f64() * 1e3);
        cpu.push(server.program().cpu_time()?.as_secs_f64() * 1e3);
    }
    let [fastest, slowest] = spread(&clock);
    report.start_ms = Some(rounded(median(&clock)));
    for (name, value) in [
        ("start_fastest_ms", fastest),
        ("start_slowest_ms", slowest),
        ("start_cpu_ms", median(&cpu)),
    ] {
        report.server.insert(name.to_owned(), rounded(value));
    }
    Ok(())
}
