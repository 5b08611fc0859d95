//! `kubectl-sluice`; all of it is in the library, for the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_cli::main()
}
