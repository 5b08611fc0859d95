//! The agent of one node: keeps the kernel's maps as the objects want them.

use std::process::ExitCode;

use args::{Args, Verb};

pub mod args;
pub mod bpf;
pub mod features;
pub mod inputs;
pub mod maps;
pub mod node;
pub mod object;
pub mod program;

/// The whole program.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Features { output } => features::command(*output),
    }
}
