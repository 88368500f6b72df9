//! How long the operator takes to resolve and encode the whole world after an edit, and what it holds, with ever more
//! realms and clients. By its own metric; the bench has no part in it.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::memory::Memory;

use super::stage::{self, Stage};
use super::{APART, committed};
use crate::growth::{note, number};
use crate::report::Report;

/// Edits that a compile time is the mean of.
const EDITS: usize = 8;
/// Sizes: realms and clients, in the order in which objects are added.
const BY_REALMS: [(usize, usize); 3] = [(1, 100), (100, 100), (1_000, 100)];
const BY_CLIENTS: [(usize, usize); 3] = [(10, 100), (10, 1_000), (10, 10_000)];
/// What all of it takes, about.
pub(super) const TAKES: Duration = Duration::from_mins(8);

/// Two operators, one for each series.
pub(super) async fn measure(report: &mut Report) -> Result<()> {
    for (axis, sizes) in [("realms", BY_REALMS), ("clients", BY_CLIENTS)] {
        let mut stage = Stage::start().await?;
        let (mut realms, mut clients) = (0, 0);
        for (to_realms, to_clients) in sizes {
            stage.create("realms", stage::realms(realms..to_realms)).await?;
            let spread = sizes.first().map_or(1, |(realms, _)| *realms);
            stage
                .create("clients", stage::clients(clients..to_clients, spread))
                .await?;
            (realms, clients) = (to_realms, to_clients);
            committed(&mut stage, realms, clients).await?;
            let size = if axis == "realms" { realms } else { clients };
            note(
                report,
                &format!("compile_ms_by_{axis}"),
                size,
                compile_ms(&stage).await?,
            );
            let memory = Memory::of(stage.operator())?;
            note(
                report,
                &format!("operator_bytes_by_{axis}"),
                size,
                number(memory.resident),
            );
        }
    }
    Ok(())
}

/// The mean of the rounds that some edits led to.
async fn compile_ms(stage: &Stage) -> Result<f64> {
    let read = || -> Result<[f64; 2]> {
        Ok([
            stage.metric("nauthera_operator_compile_seconds_sum", "")?,
            stage.metric("nauthera_operator_compile_seconds_count", "")?,
        ])
    };
    let [sum, count] = read()?;
    for edit in 0..EDITS {
        stage.edit("client-0", &format!("Compiled {edit}")).await?;
        tokio::time::sleep(APART).await;
    }
    let [later_sum, later_count] = read()?;
    ensure!(later_count - count >= number(EDITS as u64), "edits were not compiled");
    Ok((later_sum - sum) / (later_count - count) * 1e3)
}
