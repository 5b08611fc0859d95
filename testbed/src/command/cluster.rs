//! `cluster`: raises a real cluster and keeps it until it is told to end.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};

use crate::cluster::{Builder, Cluster, Mode, Proxy};

/// Raise a real Kubernetes cluster on this machine: control plane, nodes with kubelets, a name server.
///
/// Prints each step with its time, then how to use the cluster, and keeps it until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many nodes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    nodes: u8,
    /// Who makes Services work
    #[arg(long, value_enum, default_value_t = Who::KubeProxy)]
    proxy: Who,
    /// How kube-proxy does it
    #[arg(long, value_enum, default_value_t)]
    mode: How,
    /// An OCI archive that every node imports; may be given several times
    #[arg(long = "image", value_name = "ARCHIVE")]
    images: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Who {
    KubeProxy,
    None,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum How {
    #[default]
    Nftables,
    Iptables,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    let Args {
        nodes,
        proxy,
        mode,
        images,
    } = args;
    let mode = match mode {
        How::Nftables => Mode::Nftables,
        How::Iptables => Mode::Iptables,
    };
    let proxy = match proxy {
        Who::KubeProxy => Proxy::KubeProxy(mode),
        Who::None => Proxy::None,
    };
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block()?;
    let builder = Cluster::start().nodes(nodes).proxy(proxy);
    let builder = images.into_iter().fold(builder, Builder::image);
    let cluster = builder
        .tell(|what, since| println!("{:6.1} s  {what}", since.as_secs_f64()))
        .up()?;
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    ends.wait()?;
    Ok(ExitCode::SUCCESS)
}
