//! The protocol core of Nauthera: OpenID Connect and OAuth 2 as functions from values to values.
//!
//! It owns what the RFCs say: parsing requests, authenticating clients, deciding what a browser or a client gets
//! next, and minting tokens. It does no I/O beyond the [`store::Store`] port, reads no clock (time is the value
//! [`Timestamp`] that a caller passes), owns no randomness, and knows no web framework, no SQL and no Kubernetes.
//! Password hashing is done by the caller, between two calls of the core.

pub mod config;
pub mod front_channel;
pub mod id;
pub mod login;
pub mod person;
pub mod redirect_uri;
pub mod revocation;
pub mod secret;
pub mod served;
pub mod store;
pub mod time;

pub use secret::Secret;
pub use time::Timestamp;
