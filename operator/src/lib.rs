//! The operator: turns custom resources into one compiled configuration for each fleet of auth servers, and delivers it.
//!
//! [`world`] is what is known, [`resolve`] decides, [`publish`] delivers. `validate` and `dev` read the world from a
//! folder of YAML files, `run` from a cluster.

pub mod apply;
pub mod build;
pub mod dev;
mod listener;
pub mod log;
pub mod pki;
pub mod publish;
pub mod resolve;
pub mod run;
pub mod status;
pub mod table;
pub mod validate;
pub mod world;
