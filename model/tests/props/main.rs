//! The invariants of the model, on random worlds.
//!
//! A world is a handful of objects that get in each other's way as much as possible: few names, few
//! addresses, splits that name each other's Services, Services that claim the same address. Seeds
//! of failures that were found are kept next to the sources.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod admitting;
mod bending;
mod choosing;
mod clients;
mod compiling;
mod failing;
#[path = "../support/kernel.rs"]
mod kernel;
mod lifeline;
mod many;
mod planning;
mod restarting;
mod rolling;
mod shifting;
mod world;

use proptest::test_runner::{Config, FileFailurePersistence};

fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 4096,
        ..Config::default()
    }
}
