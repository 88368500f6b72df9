//! How fast the auth server is, how small, and how it grows, beside what the machine could do at most.
//!
//! The server under test is the real binary on a core of its own; what it is compared with ([`ceiling`]) runs on the same
//! core in the same minute, in rounds that take turns, and is charged in CPU time, not by the clock. So the ratios hold on
//! a shared machine, too. Nothing passes or fails by time. `make bench` runs `nauthera-bench`, which is only the command
//! line of this.

mod answer;
pub mod ceiling;
pub mod convergence;
mod exchange;
pub mod fleet;
pub mod flows;
pub mod growth;
pub mod load;
pub mod machine;
pub mod peers;
pub mod pinned;
pub mod plot;
pub mod publish;
pub mod report;
pub mod server;
pub mod settings;
pub mod sources;
