//! `sluice-operator`; all of it is in the library, for the tests.

use std::process::ExitCode;

use clap::Parser;
use sluice_operator::args::Args;

fn main() -> ExitCode {
    match sluice_operator::run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
