//! `nauthera-auth migrate`: the only thing that alters the schema.

use std::io::Write as _;

use crate::settings::DatabaseFlags;
use crate::store::{self, DatabaseSettings};

/// Migrates and says from which version to which.
pub async fn run(flags: &DatabaseFlags) -> anyhow::Result<()> {
    let url = flags.url().map_err(anyhow::Error::msg)?;
    let database = store::open(&DatabaseSettings::new(url.expose().clone()))?;
    let migrated = store::migrate(&*database).await?;
    if migrated.from == migrated.to {
        writeln!(
            std::io::stdout(),
            "database schema is at version {}: nothing to do",
            migrated.to
        )?;
    } else {
        writeln!(
            std::io::stdout(),
            "database schema migrated from version {} to {}",
            migrated.from,
            migrated.to
        )?;
    }
    Ok(())
}
