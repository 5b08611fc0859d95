//! Runs the testbed's program, built and with its tools at hand: `xtask testbed cluster --nodes 2`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::images;
use crate::process::succeeds;
use crate::requirements;
use crate::setup::{self, Need, Purpose};
use crate::workspace::Workspace;

const PROGRAM: &str = "sluice-testbed";
/// The verb that needs all that clusters need.
const CLUSTER: &str = "cluster";
/// The word that asks for a cluster with our own images.
const SLUICE: &str = "sluice";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What `sluice-testbed` is to do; `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

/// Replaces this process by the program, so that a Ctrl-C and the exit code are its own.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let wants_help = args
        .words
        .iter()
        .any(|word| word == "--help" || word == "-h");
    if args.words.first().is_some_and(|verb| verb == CLUSTER) && !wants_help {
        if !requirements::is_root() {
            bail!("a cluster needs root, for namespaces, cgroups and BPF: run it as root");
        }
        setup::run(
            workspace,
            &[Need::Packages(Purpose::Cluster), Need::Cluster],
        )?;
        if args.words.iter().any(|word| word == SLUICE) {
            images::run(workspace, &images::Args::dev())?;
        }
    }
    let mut build = workspace.cargo();
    build.args(["build", "--quiet", "--package", PROGRAM, "--bin", PROGRAM]);
    if !succeeds(&mut build)? {
        bail!("{PROGRAM} cannot be built; the reason is above");
    }
    let program = workspace.target.join("debug").join(PROGRAM);
    let error = Command::new(&program)
        .args(&args.words)
        .env("SLUICE_TOOLS", workspace.tools())
        .env("SLUICE_IMAGES", images::folder(workspace, true))
        .exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
