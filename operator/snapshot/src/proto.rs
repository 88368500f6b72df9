//! The messages of the configuration stream, generated from `proto/config.proto`, with what converts them.

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod generated {
    tonic::include_proto!("nauthera.config.v1");
}

pub use generated::*;

use crate::manifest;

/// The number of the protocol that this crate speaks.
pub const PROTOCOL: u32 = 1;

/// Largest message that either side takes, bytes. A Hello that lists 10 000 clients fits.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

impl From<manifest::Head> for Head {
    fn from(head: manifest::Head) -> Self {
        let manifest::Head { epoch, generation } = head;
        Self { epoch, generation }
    }
}

impl From<Head> for manifest::Head {
    fn from(head: Head) -> Self {
        let Head { epoch, generation } = head;
        Self { epoch, generation }
    }
}
