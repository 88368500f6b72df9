//! Faults: a database that is cut off, servers that stop in the middle, work beyond what fits, and how it ends.

mod budget;
mod command;
mod database;
mod drain;
mod replica;
