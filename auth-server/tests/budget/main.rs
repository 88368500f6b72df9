//! What requests and configuration cost in memory, counted by an allocator of this test binary's own.
//!
//! The counts are the whole process's, so every test here waits for the others, and what the server does beside requests
//! is kept out by taking the smallest of several rounds. Bounds have some headroom, and only shrink.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../it/browser.rs"]
mod browser;
mod configuration;
#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../it/database.rs"]
mod database;
mod requests;
#[expect(dead_code, reason = "the other test binary uses the rest")]
#[path = "../it/server.rs"]
mod server;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::{Mutex, MutexGuard};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static ALONE: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this binary runs.
async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// Bytes on the heap now.
fn heap_bytes() -> i64 {
    let stats = ALLOCATOR.stats();
    i64::try_from(stats.bytes_allocated).unwrap() - i64::try_from(stats.bytes_deallocated).unwrap()
}
