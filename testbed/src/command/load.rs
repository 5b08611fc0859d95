//! `load`: asks who answers, many times, from where it is run.

use std::process::ExitCode;
use std::time::Duration;

use crate::load::{Load, Target};
use anyhow::Result;

/// Ask who answers: connect to servers of this program, and count their answers.
///
/// Exits with failure if any try failed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whom to ask, in turn: ADDRESS:PORT, tcp/ADDRESS:PORT or udp/ADDRESS:PORT
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<Target>,
    /// How many times
    #[arg(long, default_value_t = 1)]
    times: u64,
    /// For so many seconds, instead
    #[arg(long, value_name = "SECONDS", conflicts_with = "times")]
    lasting: Option<f64>,
    /// Tries per second, of all threads together [default: as fast as possible]
    #[arg(long, value_name = "PER SECOND", value_parser = positive)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// How many seconds a connect, and then an answer, may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    patience: f64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    let Args {
        targets,
        times,
        lasting,
        rate,
        threads,
        patience,
        json,
    } = args;
    let mut load = Load::on(targets)
        .threads(threads)
        .patience(Duration::try_from_secs_f64(patience)?);
    load.rate = rate;
    load = match lasting {
        Some(seconds) => load.lasting(Duration::try_from_secs_f64(seconds)?),
        None => load.times(times),
    };
    let report = load.run();
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 => Ok(rate),
        _ => Err("it is no number above zero".to_owned()),
    }
}
