//! `sluice-node-agent`; all of it is in the library, for the tests.

use std::process::ExitCode;

use clap::Parser;
use sluice_node_agent::args::Args;

fn main() -> ExitCode {
    sluice_node_agent::run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
