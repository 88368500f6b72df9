//! The real parts that the tests of the whole start and stop: a Kubernetes control plane, PostgreSQL,
//! our own programs, and the relying parties that nobody here wrote.
//!
//! Everything listens on loopback, on ports of its own, keeps its files in a temporary folder and
//! ends with the value that owns it, also when the test process is killed. `e2e/tools/test` builds or
//! installs the parts and names them in the environment; one that is missing fails the test.

pub mod audit;
pub mod cluster;
pub mod dev;
pub mod image;
pub mod kstatus;
pub mod leaks;
pub mod memory;
pub mod parts;
pub mod postgres;
pub mod process;
pub mod relying_party;
mod scenario;

pub use scenario::{Scenario, scenario};
