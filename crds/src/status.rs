//! Status fields that several kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the fleet serves of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServedConfiguration {
    /// Hash of the object's part of the configuration.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// Generation of the fleet's configuration since which this hash is served.
    #[schemars(range(min = 0))]
    pub since_generation: i64,
}
