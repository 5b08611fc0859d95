//! `cluster`: raises a real cluster, and keeps it until it is told to end.
//!
//! A process of its own keeps the cluster, in both ways of use. In front of a terminal it is the child of the one that
//! prints, which can so break off a start at any moment; detached it goes on alone.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, setsid};

use crate::cluster::{Mode, Proxy};
use crate::run::sweep;
use crate::tier::Tier;

pub(super) mod down;
pub(super) mod env;
pub(super) mod keep;

/// The verb of the process that keeps the cluster.
const KEEP: &str = "cluster-keep";
/// The last line that it prints, when the cluster is up.
const UP: &str = "up";

/// Raise a real Kubernetes cluster on this machine: control plane, nodes with kubelets, a name server.
///
/// Prints each step with its time, then how to use the cluster, and keeps it until Ctrl-C; detached, until
/// `sluice-testbed cluster-down`. The image `sluice.test/testbed:1` is there for pods: its commands are the verbs of
/// this program, such as `serve --port 80` and `load ADDRESS:80` (imagePullPolicy: Never).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    shape: Shape,
    /// Return when the cluster is up, and leave it to a process in the background
    #[arg(long)]
    detach: bool,
}

/// What the cluster is like.
#[derive(Debug, clap::Args)]
pub(super) struct Shape {
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
    /// Sluice alone, as it is shipped
    Sluice,
    /// Nobody, until something in the cluster does
    None,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum How {
    #[default]
    Nftables,
    Iptables,
}

impl Shape {
    fn proxy(&self) -> Proxy {
        match (self.proxy, self.mode) {
            (Who::None, _) => Proxy::None,
            (Who::Sluice, _) => Proxy::Sluice,
            (Who::KubeProxy, How::Nftables) => Proxy::KubeProxy(Mode::Nftables),
            (Who::KubeProxy, How::Iptables) => Proxy::KubeProxy(Mode::Iptables),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    Tier::Cluster.check()?;
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block()?;
    let mut keeper = start_keeper(args.detach)?;
    let up = Arc::new(AtomicBool::new(false));
    end_on(
        signals,
        Pid::from_raw(keeper.id().cast_signed()),
        Arc::clone(&up),
    );
    let lines = BufReader::new(keeper.stdout.take().context("the keeper has no output")?).lines();
    for line in lines {
        let line = line?;
        if line != UP {
            println!("{line}");
            continue;
        }
        up.store(true, Ordering::Relaxed);
        if args.detach {
            println!("\nmake cluster-down removes it.");
            return Ok(ExitCode::SUCCESS);
        }
        println!("\nCtrl-C removes it.");
    }
    let status = keeper.wait()?;
    if !status.success() {
        // It was killed in the middle, or has lost something of the cluster.
        sweep()?;
        return Ok(ExitCode::FAILURE);
    }
    println!("The cluster is removed.");
    Ok(ExitCode::SUCCESS)
}

fn start_keeper(detach: bool) -> Result<Child> {
    // The keeper takes the same arguments.
    let shape = std::env::args_os()
        .skip(2)
        .filter(|arg| arg != OsStr::new("--detach"));
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(super::NAME)
        .arg(KEEP)
        .args(shape)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // SAFETY: between fork and exec the closure only makes system calls; it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(move || {
            // Away from the terminal, whose Ctrl-C is for the process in front.
            setsid()?;
            if !detach {
                prctl::set_pdeathsig(Signal::SIGTERM)?;
            }
            io::Result::Ok(())
        });
    }
    command
        .spawn()
        .context("starting the process that keeps the cluster")
}

/// Ends the keeper on a signal: in good order if the cluster is up, else, and the second time, at once.
fn end_on(signals: SigSet, keeper: Pid, up: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut patience = true;
        while signals.wait().is_ok() {
            let in_order = patience && up.load(Ordering::Relaxed);
            patience = false;
            // That it has ended is seen by the end of its output.
            let _ = kill(
                keeper,
                if in_order {
                    Signal::SIGTERM
                } else {
                    Signal::SIGKILL
                },
            );
        }
    });
}
