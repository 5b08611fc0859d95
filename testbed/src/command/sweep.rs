//! `sweep`: removes what killed runs left, and says what remains.

use std::process::ExitCode;

use anyhow::Result;
use sluice_testbed::run;

/// Remove what killed runs have left: processes, cgroups, mounts, namespaces, BPF pins, links, folders.
///
/// Runs that live are not touched. Every start of a run does the same by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only list what is left
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.list {
        for id in run::sweep()? {
            println!("swept run {id}");
        }
    }
    let left = run::leftovers()?;
    for (id, things) in &left {
        for thing in things {
            println!("run {id} left {thing}");
        }
    }
    Ok(if left.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
