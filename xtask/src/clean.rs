//! Removes what was built.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::process::succeeds;
use crate::workspace::Workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also remove the cache of downloaded and built tools.
    #[arg(long)]
    cache: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if !succeeds(workspace.cargo().arg("clean"))? {
        bail!("cargo clean failed: its reason is above");
    }
    if args.cache && workspace.cache.exists() {
        fs::remove_dir_all(&workspace.cache)
            .with_context(|| format!("cannot remove {}", workspace.cache.display()))?;
        eprintln!("removed {}", workspace.cache.display());
    }
    Ok(())
}
