//! `make bench`: what a connect, a cold start, a change and a standing agent cost, beside the real kube-proxy; and what
//! admission costs.
//!
//! Every arm is measured in the same run, round by round in random order, and what is claimed are ratios within rounds;
//! an arm against itself is among them, and says how far the ratios can be trusted. Nothing here is a test: numbers are
//! written down, with the bar beside them, and a bar that is missed fails nothing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use crate::machine::Machine;
use crate::progress::{begin, tell};

mod admission;
mod arm;
mod caller;
mod change;
mod client;
mod clock;
mod cold;
mod connect;
mod footprint;
mod life;
mod logged;
mod machine;
mod partner;
mod population;
mod processor;
mod progress;
mod report;
mod server;
mod stage;
mod stats;
mod store;

/// Measure Sluice beside kube-proxy on this machine, and write tables, plots and raw numbers.
#[derive(Debug, Parser)]
#[command(name = "sluice-bench", version)]
struct Args {
    /// Fewer sizes and rounds: ends within five minutes
    #[arg(long)]
    quick: bool,
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<What>,
    /// Where to write
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The agent's program, optimised
    #[arg(long, value_name = "FILE")]
    agent: PathBuf,
    /// The webhook's program, optimised
    #[arg(long, value_name = "FILE")]
    webhook: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A connect, by the number of Services
    #[value(alias = "connect")]
    P1,
    /// From the start of an agent to all Services answering
    #[value(alias = "cold-start")]
    P3,
    /// From a change of an endpoint to the first connect there
    #[value(alias = "change")]
    P4,
    /// Memory and processor time
    #[value(alias = "footprint")]
    P6,
    /// Reviews by the webhook, and writes with and without it
    #[value(alias = "admission")]
    P7,
}

fn main() -> ExitCode {
    sluice_testbed::entry();
    let outcome = match env::args().nth(1).as_deref() {
        Some(client::ROLE) => client::run(),
        Some(server::ROLE) => server::run(),
        _ => bench(&Args::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<()> {
    begin();
    let found = |program: &Path| {
        let path = program.canonicalize();
        path.with_context(|| format!("there is no program {}", program.display()))
    };
    let agent = found(&args.agent)?;
    let wanted = |what| args.only.is_empty() || args.only.contains(&what);
    let machine = Machine::look(args.quick)?;
    tell(&machine);
    let parts = life::Parts {
        cold: wanted(What::P3),
        change: wanted(What::P4),
        footprint: wanted(What::P6),
    };
    if parts.cold || parts.change || parts.footprint {
        life::run(&agent, args.quick, parts, |found| {
            report::life::write(&args.out, &machine, found)
        })?;
    }
    if wanted(What::P7) {
        let found = admission::run(&found(&args.webhook)?, args.quick)?;
        report::admission::write(&args.out, &machine, &found)?;
    }
    if wanted(What::P1) {
        connect::run(&agent, args.quick, |found| {
            report::connect::write(&args.out, &machine, found)
        })?;
    }
    tell(format!("written to {}", args.out.display()));
    Ok(())
}
