//! The one entry point for tasks; the Makefile and CI only call it.
//!
//! A task that fails says so in sentences and exits non-zero; there is no panic to read and no
//! backtrace. What a task needs it sets up by itself, see [`setup`].

mod bench;
mod cache;
mod clean;
mod demo;
mod images;
mod kernels;
mod key;
mod lint;
mod process;
mod progress;
mod requirements;
mod setup;
mod test;
mod testbed;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::workspace::Workspace;

/// Set-up, tests, checks and kernels of Sluice. `make help` lists the same tasks.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the other tasks need; what is there already is skipped.
    Setup,
    /// Run unit tests and every tier; the last line counts what passed, failed and was skipped.
    Test(test::Args),
    /// Like `test`, with the long form of each test.
    TestAll(test::Args),
    /// Write the container images of Sluice, as OCI archives, into target/images.
    Images(images::Args),
    /// Check format, lints, shell, Go, and the rules on dependencies.
    Lint,
    /// Boot other kernels in qemu: what each has of what Sluice uses, and the kernel tier on each.
    Kernels(kernels::Args),
    /// Show on this machine's kernel what Sluice promises, with numbers.
    Demo(demo::Args),
    /// Measure Sluice beside the real kube-proxy, and write tables and plots.
    Bench(bench::Args),
    /// Run the testbed's program, for instance `testbed cluster --nodes 2`.
    Testbed(testbed::Args),
    /// Remove build results; with --cache also the downloaded and built tools.
    Clean(clean::Args),
}

fn main() -> ExitCode {
    end_quietly_on_a_closed_pipe();
    let args = Args::parse();
    match run(args.task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup => {
            setup::run(&workspace, &setup::EVERYTHING)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Test(args) => test::run(&workspace, &args, test::Form::Short),
        Task::TestAll(args) => test::run(&workspace, &args, test::Form::Long),
        Task::Images(args) => {
            images::run(&workspace, &args)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Lint => lint::run(&workspace),
        Task::Kernels(args) => kernels::run(&workspace, &args),
        Task::Demo(args) => {
            demo::run(&workspace, &args)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Bench(args) => {
            bench::run(&workspace, args)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Testbed(args) => {
            testbed::run(&workspace, &args)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Clean(args) => {
            clean::run(&workspace, &args)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Rust ignores SIGPIPE, which turns `make test | head` into a panic inside `println!`.
fn end_quietly_on_a_closed_pipe() {
    // SAFETY: SIG_DFL installs no handler, so no code of ours runs in signal context.
    let restored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    debug_assert!(restored.is_ok());
}
