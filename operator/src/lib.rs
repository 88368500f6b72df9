//! The operator: compiles custom resources into the configuration of auth servers and delivers it.

pub mod pki;
pub mod publish;
