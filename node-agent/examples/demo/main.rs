//! `make demo`: what Sluice promises, shown on this machine's own kernel.
//!
//! A light node with pods, the agent's binary on a folder of manifests, and a client that connects.
//! Each promise is a step with its measured numbers; one that is not kept makes the exit code 1.
//! Everything is made in namespaces and cgroups of its own and removed at the end.

use std::{
    process::ExitCode,
    sync::mpsc::{self, Receiver},
    thread,
    time::Instant,
};

use anyhow::Result;
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use sluice_node_agent::object;
use sluice_testbed::requirements::Host;

use crate::{shop::Shop, story::Story};

mod acts;
mod manifests;
mod play;
mod shop;
mod story;

/// Shows on this machine what Sluice promises, with numbers. Needs root.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Args {
    /// Keep everything after the last step, and say what to try, until Ctrl-C.
    #[arg(long)]
    stay: bool,
}

fn main() -> ExitCode {
    sluice_testbed::entry();
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether every promise was kept.
fn run(args: &Args) -> Result<bool> {
    Host::find()?;
    object::bytes()?;
    let interrupted = interrupts()?;
    let began = Instant::now();
    let mut story = Story::default();
    story.begin("Sluice, on this kernel. What is made is in namespaces and cgroups of its own, and goes at the end.");
    let mut shop = acts::open(&mut story)?;
    let acts: [fn(&mut Shop, &mut Story) -> Result<()>; 6] = [
        acts::exact_shares,
        acts::an_edit,
        acts::kills_under_load,
        acts::a_version_goes,
        acts::nothing_is_left,
        acts::it_explains_itself,
    ];
    for act in acts {
        if let Ok(signal) = interrupted.try_recv() {
            println!("\nEnded by {signal}.");
            return Ok(false);
        }
        act(&mut shop, &mut story)?;
    }
    story.end(began.elapsed());
    if args.stay {
        play::invite(&shop)?;
        interrupted.recv()?;
    }
    Ok(story.is_kept())
}

/// Ctrl-C becomes a message, so that what was made is removed on the way out.
fn interrupts() -> Result<Receiver<Signal>> {
    let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    ends.thread_block()?;
    let (sender, interrupted) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(signal) = ends.wait() {
            // Nobody listens any more when the demo is ending anyway.
            let _ = sender.send(signal);
        }
    });
    Ok(interrupted)
}
