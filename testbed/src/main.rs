//! The testbed's own program: the server inside pods and images, and the tools around runs.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod command;

/// Nodes, pods and clusters for tests and for playing, from namespaces and cgroups.
#[derive(Debug, Parser)]
#[command(name = "sluice-testbed", version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(command::serve::Args),
    Load(command::load::Args),
    Sweep(command::sweep::Args),
}

fn main() -> ExitCode {
    sluice_testbed::entry();
    match run(Args::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Serve(args) => command::serve::run(args),
        Verb::Load(args) => command::load::run(args),
        Verb::Sweep(args) => command::sweep::run(&args),
    }
}
