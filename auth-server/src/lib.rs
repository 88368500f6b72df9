//! Placeholder.
pub mod pages;
