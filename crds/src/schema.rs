//! Schemas of the few fields whose shape is not ours, and what every kind's schema has in common.

use schemars::{Schema, SchemaGenerator, json_schema};

/// An amount, as Kubernetes writes it: `500m`, `2`, `64Mi`.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 32,
        "pattern": "^[0-9]+([.][0-9]+)?([EPTGMK]i|[munkMGTPE]|[eE][+-]?[0-9]+)?$",
    })
}

/// Amounts by resource name (`cpu`, `memory`).
pub(crate) fn quantities(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": quantity(generator),
    })
}

/// An object that somebody else validates.
pub(crate) fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
