//! The operator from outside: folders in, reports and configurations out, and the stream on real sockets. One module per
//! area; each test owns its folders and ports.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails panics"
)]

mod delivery;
mod dev_core;
mod publish;
mod renewal;
mod validate;
