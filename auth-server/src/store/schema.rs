//! Schema levels: which migrations there are, and which levels this program can serve.
//!
//! Migrations are numbered SQL files, forward only, and additive (expand, migrate, contract): each one says from which
//! level of knowledge on a program can use the result, so that the former release keeps serving beside the next one.

use oidc::store::StoreError;

/// One step of the schema.
pub(super) struct Migration {
    /// Its number, counted from 1.
    pub(super) level: i32,
    /// A program that knows at least this level can serve the result.
    pub(super) usable_from: i32,
    /// What both databases run.
    pub(super) sql: &'static str,
}

/// All of them, in order.
pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    level: 1,
    usable_from: 1,
    sql: include_str!("migrations/0001_initial.sql"),
}];

/// The newest level this program knows.
pub const NEWEST: i32 = 1;

/// The oldest level this program can serve.
pub const OLDEST: i32 = 1;

/// What a database says about its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaLevel {
    /// The last migration applied; 0 in an empty database.
    pub level: i32,
    /// The oldest knowledge that can serve it.
    pub usable_from: i32,
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The level found.
    pub from: i32,
    /// The level now.
    pub to: i32,
}

/// Why a schema cannot be served or migrated.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not yet migrated.
    #[error(
        "database schema is at version {found}, this server needs version {OLDEST} or newer: run `nauthera-auth migrate`"
    )]
    TooOld {
        /// The level found.
        found: i32,
    },
    /// Migrated by a newer release, beyond what this one can use.
    #[error(
        "database schema is at version {found} and serves programs that know version {usable_from} or newer, this server \
         knows version {NEWEST}: run a newer nauthera-auth"
    )]
    TooNew {
        /// The level found.
        found: i32,
        /// What it asks for.
        usable_from: i32,
    },
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether this program can serve a schema of that level.
pub fn check(schema: SchemaLevel) -> Result<(), SchemaError> {
    if schema.level < OLDEST {
        Err(SchemaError::TooOld { found: schema.level })
    } else if schema.usable_from > NEWEST {
        Err(SchemaError::TooNew {
            found: schema.level,
            usable_from: schema.usable_from,
        })
    } else {
        Ok(())
    }
}

/// The migrations that a schema of that level lacks; refuses one that is newer than this program can use.
pub(super) fn missing(schema: SchemaLevel) -> Result<impl Iterator<Item = &'static Migration>, SchemaError> {
    if schema.usable_from > NEWEST {
        return Err(SchemaError::TooNew {
            found: schema.level,
            usable_from: schema.usable_from,
        });
    }
    Ok(MIGRATIONS
        .iter()
        .filter(move |migration| migration.level > schema.level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps_up_to_the_newest() {
        let levels: Vec<i32> = MIGRATIONS.iter().map(|migration| migration.level).collect();
        assert_eq!(levels, (1..=NEWEST).collect::<Vec<_>>());
        assert!(
            MIGRATIONS
                .iter()
                .all(|migration| migration.usable_from <= migration.level)
        );
    }

    #[test]
    fn refusals_name_both_versions_and_the_command() {
        let old = check(SchemaLevel {
            level: 0,
            usable_from: 0,
        })
        .unwrap_err()
        .to_string();
        insta::assert_snapshot!(old, @"database schema is at version 0, this server needs version 1 or newer: run `nauthera-auth migrate`");
        let new = check(SchemaLevel {
            level: 9,
            usable_from: 8,
        })
        .unwrap_err()
        .to_string();
        insta::assert_snapshot!(new, @"database schema is at version 9 and serves programs that know version 8 or newer, this server knows version 1: run a newer nauthera-auth");
    }

    #[test]
    fn a_newer_schema_that_is_still_usable_is_served() {
        assert!(
            check(SchemaLevel {
                level: NEWEST + 1,
                usable_from: NEWEST
            })
            .is_ok()
        );
    }
}
