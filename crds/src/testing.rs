//! The table of objects that are accepted and refused, for every test that judges the rules: in
//! process, and on a real API server.
//!
//! It is `crds/testdata/admission.yaml`:
//! - `objects`: complete objects by name, all of them acceptable;
//! - `cases`: a list of
//!   - `name`: what the case shows;
//!   - `object`: which of the objects it starts from;
//!   - `patch`: JSON merge patch (RFC 7396) that makes the object under test from it;
//!   - `old`: merge patch that makes the stored object that is updated, when the case is an update
//!     (`{}` for the object as it is); absent when the case is a creation;
//!   - `refused`: part of `path: message` as the offline check says it. Absent when the object is
//!     accepted. A message of a CEL rule reads the same on the API server; a message of the schema
//!     (`schema: true`) is worded by the API server in its own way.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use crate::manifests::Kind;

/// The table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is not YAML of the expected shape.
    #[error("table of cases cannot be read")]
    Yaml(#[from] serde_saphyr::Error),
    /// A case starts from an object that is not there, or of an unknown kind.
    #[error("case {0:?} starts from an unknown object")]
    UnknownObject(String),
}

/// One object and what becomes of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the case shows.
    pub name: String,
    /// Kind of the object.
    pub kind: Kind,
    /// The object that is created, or what the old one is updated to.
    pub object: Value,
    /// The stored object, when the case is an update.
    pub old: Option<Value>,
    /// Part of the refusal; `None` when the object is accepted.
    pub refused: Option<String>,
    /// The refusal comes from the schema, so only its path reads the same on the API server.
    pub schema: bool,
}

#[derive(Deserialize)]
struct Table {
    objects: BTreeMap<String, Value>,
    cases: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    object: String,
    #[serde(default)]
    patch: Value,
    #[serde(default)]
    old: Option<Value>,
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    schema: bool,
}

/// Every case of the table.
pub fn cases() -> Result<Vec<Case>, TableError> {
    let Table { objects, cases } = serde_saphyr::from_str(include_str!("../testdata/admission.yaml"))?;
    let case = |Row {
                    name,
                    object,
                    patch,
                    old,
                    refused,
                    schema,
                }: Row| {
        let base = objects.get(&object);
        let kind = base
            .and_then(|base| base.get("kind"))
            .and_then(Value::as_str)
            .and_then(Kind::parse);
        let (Some(base), Some(kind)) = (base, kind) else {
            return Err(TableError::UnknownObject(name));
        };
        let object = merged(base.clone(), patch);
        let old = old.map(|patch| merged(base.clone(), patch));
        Ok(Case {
            name,
            kind,
            object,
            old,
            refused,
            schema,
        })
    };
    cases.into_iter().map(case).collect()
}

/// RFC 7396; an absent patch (`null`) changes nothing.
fn merged(mut target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return if patch.is_null() { target } else { patch };
    };
    if !target.is_object() {
        target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = &mut target {
        for (name, change) in patch {
            if change.is_null() {
                fields.remove(&name);
            } else {
                let former = fields.remove(&name).unwrap_or_default();
                fields.insert(name, merged(former, change));
            }
        }
    }
    target
}
