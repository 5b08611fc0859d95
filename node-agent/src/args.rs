//! The command line.

use clap::{Parser, Subcommand, ValueEnum};

/// Keeps one node's kernel sending each connect where the cluster's objects say.
///
/// Programs and maps are pinned: they go on while the agent is stopped, crashed or being replaced.
#[derive(Debug, Parser)]
#[command(name = "sluice-node-agent", version)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say what this kernel has of what Sluice uses; exits with 1 if it cannot run Sluice.
    ///
    /// Each feature is tried, not guessed from a version. Needs root.
    Features {
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}
