//! The testbed's own program: the server inside pods and images, and the tools around runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_testbed::entry();
    sluice_testbed::command::main()
}
