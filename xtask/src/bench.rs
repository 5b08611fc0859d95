//! Builds and runs the benchmarks: the program `sluice-bench`, and agent and webhook as they are shipped.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::succeeds;
use crate::requirements;
use crate::setup::{self, Need, Purpose};
use crate::workspace::Workspace;

const PROGRAM: &str = "sluice-bench";
const AGENT: &str = "sluice-node-agent";
const WEBHOOK: &str = "sluice-webhook";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer sizes and rounds: ends within five minutes, and writes to target/bench.
    #[arg(long)]
    quick: bool,
    /// Only these, separated by commas: p1 (connect), p3 (cold-start), p4 (change), p6 (footprint), p7 (admission).
    #[arg(long, value_name = "NAMES")]
    only: Option<String>,
    /// Where to write tables, plots and raw numbers [default: docs/benchmarks].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Replaces this process by the program, so that a Ctrl-C and the exit code are its own.
pub(crate) fn run(workspace: &Workspace, args: Args) -> Result<()> {
    if !requirements::is_root() {
        bail!("the benchmarks need root, for namespaces, cgroups and BPF: run it as root");
    }
    setup::run(
        workspace,
        &[
            Need::Packages(Purpose::Build),
            Need::Packages(Purpose::Cluster),
            Need::BpfLinker,
            Need::Cluster,
        ],
    )?;
    let Args { quick, only, out } = args;
    let out = out.unwrap_or_else(|| match quick {
        true => workspace.target.join("bench"),
        false => workspace.root.join("docs/benchmarks"),
    });
    let mut build = workspace.cargo();
    build.args([
        "build",
        "--release",
        "--package",
        PROGRAM,
        "--package",
        AGENT,
        "--package",
        WEBHOOK,
        "--bins",
    ]);
    if !succeeds(&mut build)? {
        bail!("the benchmarks cannot be built; the reason is above");
    }
    let programs = workspace.target.join("release");
    let program = programs.join(PROGRAM);
    let mut bench = Command::new(&program);
    bench
        .env("SLUICE_TOOLS", workspace.tools())
        .arg("--out")
        .arg(out)
        .arg("--agent")
        .arg(programs.join(AGENT))
        .arg("--webhook")
        .arg(programs.join(WEBHOOK))
        .args(quick.then_some("--quick"));
    if let Some(only) = only {
        bench.arg("--only").arg(only);
    }
    let error = bench.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
