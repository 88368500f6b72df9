//! What is done by hand beside serving: migrating the schema and managing people.

pub mod migrate;
pub mod signal;
pub mod user;
