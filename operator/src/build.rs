//! Child objects as they should be: pure builders, one room for each kind of custom resource.
//!
//! They take the world and what [`crate::resolve`] decided, and return plain objects; comparing them with what exists and
//! writing the difference is `apply`'s.

use serde_json::Value;

use crate::world::ChildId;

/// Annotation with the hash of what was last applied: a field that is not wanted any more shows by it.
pub const APPLIED_ANNOTATION: &str = "auth.nauthera.io/applied";

/// A child object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Which object.
    pub id: ChildId,
    /// The fields that we own, `apiVersion`, `kind`, `metadata` with our label and owner reference among them.
    pub object: Value,
    /// The field manager that applies it.
    pub manager: &'static str,
}
