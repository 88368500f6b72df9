//! Placeholder.
pub mod pages;
pub mod store;
