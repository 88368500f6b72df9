//! Reading rows.

use oidc::person::Person;
use oidc::store::StoreError;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::store::rows::{PersonRow, inconsistent};

/// One column by name.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, StoreError> {
    row.try_get(name).map_err(inconsistent)
}

/// The columns of `person_columns!`, whatever else the row has.
pub(super) fn person(row: &Row) -> Result<Person, StoreError> {
    PersonRow {
        id: column(row, "id")?,
        username: column(row, "username")?,
        state: column(row, "state")?,
        epoch: column(row, "epoch")?,
        groups: column(row, "groups")?,
        profile: column(row, "profile")?,
        updated_at: column(row, "updated_at")?,
    }
    .into_person()
}
