//! The auth server: serves compiled configuration to people and applications over OpenID Connect and OAuth 2.
//!
//! It does not know that Kubernetes exists: configuration comes as shards from a folder and as a stream from operators.
//! The protocol is in crate `oidc`; this crate is its shell: HTTP, pages, password hashing, databases, probes, metrics.

pub mod app;
mod background;
mod clock;
pub mod command;
pub mod config_feed;
mod erasure;
mod health;
mod http;
pub mod log;
mod metrics;
pub mod pages;
pub mod password;
pub mod settings;
pub mod store;
