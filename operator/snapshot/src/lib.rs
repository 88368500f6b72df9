//! The wire form of a fleet's configuration: what operators write and stream, and what auth servers verify and serve.
//!
//! A [`oidc::config::Resource`] becomes canonical bytes whose SHA-256 is its version; resources lie in up to 32
//! compressed shards; a small [`Manifest`] names the shards and the position ([`Head`]) of the whole. [`Artefact`] is
//! all of it. Everything here is a function from values to values: files, Secrets and sockets are the callers' matter.
//! Whatever is decoded is treated as hostile: sizes are bounded, hashes are compared, values are validated again.

mod acknowledgements;
mod artefact;
#[cfg(test)]
mod fixtures;
mod fleet;
mod hash;
mod id;
mod manifest;
mod next;
pub mod proto;
mod shard;
mod wire;

pub use acknowledgements::{Acknowledgement, Acknowledgements, Answers};
pub use artefact::{Artefact, ArtefactError, MANIFEST_FILE};
pub use fleet::{Fleet, FleetError, OPERATOR_NAME, OPERATOR_URI};
pub use hash::{Hash, HashError};
pub use id::{ResourceId, ResourceIdError};
pub use manifest::{
    Counts, Head, MANIFEST_BYTES, Manifest, ManifestError, RecentLoss, SCHEMA, ServerVersion, ShrinkGuard, Trust,
};
pub use next::{Exclusion, Inputs, Standing, Step};
pub use shard::{Entry, Refusal, SHARD_BYTES, SHARD_COUNT, Shard, ShardError, Tombstone, shard_file};
pub use wire::{ClientSecrets, Payload, RESOURCE_BYTES, ResourceError, decode, encode};
