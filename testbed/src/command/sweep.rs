//! `sweep`: removes what killed runs left, and says what remains.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::run;
use anyhow::Result;

/// Remove what killed runs have left: processes, cgroups, mounts, namespaces, BPF pins, links, folders.
///
/// Runs that live are not touched. Every start of a run does the same by itself.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only list what is left
    #[arg(long)]
    list: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let mut output = io::stdout().lock();
    if !args.list {
        for id in run::sweep()? {
            writeln!(output, "swept run {id}")?;
        }
    }
    let left = run::leftovers()?;
    for (id, things) in &left {
        for thing in things {
            writeln!(output, "run {id} left {thing}")?;
        }
    }
    Ok(if left.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
