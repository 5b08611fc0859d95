//! What a test binary is beside itself: agents and operators are this very program, started again with a word before
//! their arguments.

use std::env;
use std::process::exit;

use anyhow::Result;
use clap::Parser as _;
use sluice_node_agent::object;
use sluice_testbed::requirements::Missing;
use sluice_testbed::tier::Tier;

pub const AGENT: &str = "agent";
pub const OPERATOR: &str = "operator";

/// Becomes what the first argument names; returns if it names nothing of this kind.
pub fn take() {
    match env::args().nth(1).as_deref() {
        Some(AGENT) => be(|args| {
            sluice_node_agent::run(&sluice_node_agent::args::Args::parse_from(args)).map(drop)
        }),
        Some(OPERATOR) => {
            be(|args| sluice_operator::run(&sluice_operator::args::Args::parse_from(args)))
        }
        _ => {}
    }
}

/// What the machine lacks for a cluster with agents: its programs, or the compiler of the agents'.
pub fn check() -> Result<(), Missing> {
    Tier::Cluster.check()?;
    let compiled = object::bytes().map(drop);
    compiled.map_err(|missing| Missing(missing.to_string()))
}

fn be(program: impl FnOnce(env::Args) -> Result<()>) -> ! {
    let mut args = env::args();
    args.next();
    let outcome = program(args);
    if let Err(error) = &outcome {
        eprintln!("error: {error:#}");
    }
    exit(i32::from(outcome.is_err()));
}
