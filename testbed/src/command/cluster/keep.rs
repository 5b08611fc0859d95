//! `cluster-keep`: the process that raises a cluster and keeps it until it is told to end.

use std::fs::OpenOptions;
use std::process::ExitCode;

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stderr, dup2_stdout};

use super::{Shape, UP};
use crate::cluster::{Builder, Cluster, Standing};

/// Raise a cluster and keep it until SIGTERM.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Args {
    #[command(flatten)]
    shape: Shape,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block()?;
    let proxy = args.shape.proxy();
    let builder = Cluster::start().nodes(args.shape.nodes).proxy(proxy);
    let builder = args.shape.images.into_iter().fold(builder, Builder::image);
    let cluster = builder
        .tell(|what, since| println!("{:6.1} s  {what}", since.as_secs_f64()))
        .up()?;
    Standing::announce(&cluster)?;
    println!(
        "\nThe cluster of run {} is up. In another shell:\n",
        cluster.run().id()
    );
    println!("  eval \"$(make -s cluster-env)\"");
    println!("  kubectl get nodes,pods --all-namespaces --output wide\n");
    println!("Logs are in {}.", cluster.run().logs().display());
    println!("{UP}");
    go_on_alone(&cluster)?;
    ends.wait()?;
    Ok(ExitCode::SUCCESS)
}

/// Whoever started this may go: what is said from now on goes to a log.
fn go_on_alone(cluster: &Cluster) -> Result<()> {
    let log = cluster.run().logs().join("keeper.log");
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    dup2_stderr(&log)?;
    dup2_stdout(&log)?;
    Ok(())
}
