//! Binding parameters and reading rows.

use oidc::store::StoreError;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row};
use uuid::Uuid;

use crate::store::rows::PersonRow;

/// A UUID as 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) Uuid);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Uuid::from_slice(value.as_blob()?)
            .map(Self)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// The statement with `$1`, `$2`, … bound: SQLite takes them for names, whatever their order in the text.
fn bound<'a>(connection: &'a Connection, sql: &str, params: &[&dyn ToSql]) -> rusqlite::Result<CachedStatement<'a>> {
    let mut statement = connection.prepare_cached(sql)?;
    for (index, value) in params.iter().enumerate() {
        if let Some(place) = statement.parameter_index(&format!("${}", index + 1))? {
            statement.raw_bind_parameter(place, value)?;
        }
    }
    Ok(statement)
}

/// Every row, read by `read`.
pub(super) fn query<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = bound(connection, sql, params)?;
    let mut rows = statement.raw_query();
    let mut answers = Vec::new();
    while let Some(row) = rows.next()? {
        answers.push(read(row)?);
    }
    Ok(answers)
}

/// The first row, read by `read`; a statement that writes still runs to its end.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    Ok(query(connection, sql, params, read)?.into_iter().next())
}

/// How many rows changed.
pub(super) fn execute(connection: &Connection, sql: &str, params: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    bound(connection, sql, params)?.raw_execute()
}

/// The columns of `person_columns!`, which come first.
pub(super) fn person(row: &Row<'_>) -> rusqlite::Result<PersonRow> {
    Ok(PersonRow {
        id: row.get::<_, Id>(0)?.0,
        username: row.get(1)?,
        state: row.get(2)?,
        epoch: row.get(3)?,
        groups: row.get(4)?,
        profile: row.get(5)?,
        updated_at: row.get(6)?,
    })
}

/// The person of a row that may be missing.
pub(super) fn into_person(row: Option<PersonRow>) -> Result<Option<oidc::person::Person>, StoreError> {
    row.map(PersonRow::into_person).transpose()
}
