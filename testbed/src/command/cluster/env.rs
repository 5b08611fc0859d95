//! `cluster-env`: what a shell needs to use a cluster.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::Standing;
use crate::run::RunId;

/// Print the lines by which a shell uses a cluster; to be evaluated there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which one, where there are several
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let cluster = Standing::find(args.run)?;
    println!("export KUBECONFIG={}", quoted(&cluster.kubeconfig));
    println!("export PATH={}:\"$PATH\"", quoted(&cluster.tools));
    Ok(ExitCode::SUCCESS)
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
