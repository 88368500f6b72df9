//! Placeholder.
pub mod config_feed;
pub mod pages;
pub mod store;
