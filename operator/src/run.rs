//! `run`: the operator in a cluster.

pub mod delivery;
