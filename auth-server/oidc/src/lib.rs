//! The protocol core of Nauthera: OpenID Connect and OAuth 2 as functions from values to values.
//!
//! It owns what the RFCs say: parsing requests, authenticating clients, deciding what a browser or a client gets
//! next, and minting tokens. It does no I/O beyond the [`store::Store`] port, reads no clock (time is the value
//! [`Timestamp`] that a caller passes), owns no randomness, and knows no web framework, no SQL and no Kubernetes.
//! Password hashing is done by the caller, between two calls of the core.

mod access_token;
pub mod account_choice;
mod audience;
pub mod authorize;
pub mod claims;
pub mod client_authentication;
pub mod code;
pub mod config;
pub mod consent;
pub mod context;
pub mod cors;
pub mod discovery;
pub mod document;
pub mod end_session;
pub mod endpoint;
pub mod front_channel;
mod grant;
pub mod id;
pub mod introspection;
mod jose;
pub mod key_generation;
pub mod keys;
pub mod login;
pub mod mint;
pub mod parameters;
pub mod person;
pub mod redirect_uri;
pub mod remembered;
pub mod revocation;
pub mod seal;
pub mod secret;
pub mod served;
pub mod session;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod token;
pub mod token_revocation;
pub mod userinfo;

pub use context::Context;
pub use jose::{JwsError, TokenType, UnusableKey};
pub use secret::Secret;
pub use time::Timestamp;
