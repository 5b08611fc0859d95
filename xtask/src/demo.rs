//! Builds and runs the demo: an example of the node agent that runs the agent's and the CLI's
//! binaries.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::succeeds;
use crate::requirements;
use crate::setup::{self, Need, Purpose};
use crate::workspace::Workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep everything after the last step, and say what to try, until Ctrl-C.
    #[arg(long)]
    stay: bool,
}

/// Replaces this process by the demo, so that a Ctrl-C and the exit code are its own.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if !requirements::is_root() {
        bail!("the demo needs root, for namespaces, cgroups and BPF: run it as root");
    }
    setup::run(
        workspace,
        &[Need::Packages(Purpose::Build), Need::BpfLinker],
    )?;
    // The whole workspace's features, so that a crate is not compiled again for the demo alone.
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--bins", "--example", "demo"]);
    if !succeeds(&mut build)? {
        bail!("the demo cannot be built; the reason is above");
    }
    let program = workspace.target.join("debug/examples/demo");
    let error = Command::new(&program)
        .args(args.stay.then_some("--stay"))
        .exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
