//! The verbs of the program `sluice-testbed`, one file each: its arguments and what it does.
//!
//! They are part of the library, since the images of a cluster hold the very program that raises it, under that name:
//! so a test needs no other binary than its own.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod cluster;
mod image;
mod load;
mod pause;
mod resolve;
mod serve;
mod sweep;

const NAME: &str = "sluice-testbed";

/// Nodes, pods and clusters for tests and for playing, from namespaces and cgroups.
#[derive(Debug, Parser)]
#[command(name = NAME, version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::Args),
    Load(load::Args),
    Resolve(resolve::Args),
    Cluster(cluster::Args),
    ClusterDown(cluster::down::Args),
    ClusterEnv(cluster::env::Args),
    ClusterKeep(cluster::keep::Args),
    Image(image::Args),
    Sweep(sweep::Args),
    Pause(pause::Args),
}

/// Whether this program was called by the name whose verbs these are, as it is in a container.
pub fn is_called() -> bool {
    env::args_os()
        .next()
        .is_some_and(|program| Path::new(&program).file_name() == Some(OsStr::new(NAME)))
}

/// Carries out the verb in the arguments.
pub fn main() -> ExitCode {
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
        Verb::Serve(args) => serve::run(args),
        Verb::Load(args) => load::run(args),
        Verb::Resolve(args) => resolve::run(&args),
        Verb::Cluster(args) => cluster::run(&args),
        Verb::ClusterDown(args) => cluster::down::run(&args),
        Verb::ClusterEnv(args) => cluster::env::run(&args),
        Verb::ClusterKeep(args) => cluster::keep::run(args),
        Verb::Image(args) => image::run(&args),
        Verb::Sweep(args) => sweep::run(&args),
        Verb::Pause(args) => pause::run(args),
    }
}
