//! `xtask lint`: everything about the sources that a machine can judge.
//!
//! Every check runs, also after one that failed, so that one run shows all there is to mend.

mod dependencies;
mod go;
mod rust;
mod text;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::progress::elapsed;
use crate::setup::{self, Need, Purpose};
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<Vec<String>>;

/// Each check with its claim; a check returns what contradicts the claim.
const CHECKS: [(&str, Check); 11] = [
    ("the sources are formatted", rust::format),
    ("clippy has no warning", rust::clippy),
    ("the documentation has no broken link", rust::documentation),
    (
        "every member inherits the workspace's lints",
        rust::inherited_lints,
    ),
    ("the lock file is current", dependencies::locked),
    (
        "ring is the only TLS provider",
        dependencies::one_tls_provider,
    ),
    (
        "pure crates depend on nothing impure",
        dependencies::pure_graph,
    ),
    (
        "pure crates use no clock and no environment",
        text::pure_sources,
    ),
    ("shell scripts pass shellcheck", text::shell),
    ("no file names a home folder", text::home_folders),
    ("Go is formatted and passes vet", go::modules),
];

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    setup::run(
        workspace,
        &[
            Need::Packages(Purpose::Build),
            Need::Packages(Purpose::Lint),
            Need::BpfLinker,
        ],
    )?;
    let started = Instant::now();
    let mut failed = 0;
    for (claim, check) in CHECKS {
        let began = Instant::now();
        let against = check(workspace).unwrap_or_else(|error| vec![format!("{error:#}")]);
        if against.is_empty() {
            println!("lint: {claim} ({})", elapsed(began.elapsed()));
            continue;
        }
        failed += 1;
        println!("lint: NOT so: {claim}");
        for line in against {
            println!("    {line}");
        }
    }
    println!(
        "lint: {} checks, {failed} failed, {}",
        CHECKS.len(),
        elapsed(started.elapsed())
    );
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
