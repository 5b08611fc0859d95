//! `cluster-down`: removes a cluster that another process keeps.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::Standing;
use crate::run::RunId;

/// Remove a cluster that was left in the background.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which one, where there are several
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    run: Option<RunId>,
    /// Remove all
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let clusters = if args.all {
        Standing::all()
    } else {
        vec![Standing::find(args.run)?]
    };
    for cluster in clusters {
        cluster.remove()?;
        if let Some(id) = cluster.run() {
            println!("The cluster of run {id} is removed.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
