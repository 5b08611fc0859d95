//! `image`: this program as a container image, for clusters that others have raised.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::cluster;

/// Write the image `sluice.test/testbed:1`, whose commands are these verbs, as an OCI archive.
///
/// Clusters of the testbed have it. For others: `kind load image-archive FILE`, `ctr -n k8s.io images import FILE`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    cluster::write_testbed_image(&args.file)?;
    Ok(ExitCode::SUCCESS)
}
