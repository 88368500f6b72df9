//! The auth server on real parts. One module per area; each test owns its database and its ports.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

mod attack;
mod browser;
mod config_feed;
mod database;
mod erasure;
mod faults;
mod flow;
mod input;
mod oidc;
mod server;
mod start;
mod store;
