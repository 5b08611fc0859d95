//! `pause`: the first process of a pod, which keeps its namespaces.

use std::process::ExitCode;

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// Do nothing until told to end; bury the processes that others left.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(super) struct Args {}

pub(super) fn run(Args {}: Args) -> Result<ExitCode> {
    // As process 1 there is no default action: the signals are waited for.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    signals.thread_block()?;
    while signals.wait()? == Signal::SIGCHLD {
        while !matches!(
            waitpid(None, Some(WaitPidFlag::WNOHANG)),
            Ok(WaitStatus::StillAlive) | Err(_)
        ) {}
    }
    Ok(ExitCode::SUCCESS)
}
