//! `xtask test`: the set-up, one build, every test, and one closing line.
//!
//! Tests are ordinary cargo tests. The tiers that need root are test targets like any other, run by
//! a harness that reports what it lacks; this runner only starts cargo once, shows its output as it
//! comes, and counts. The last line is always `N passed, N failed, N skipped`, also when nothing
//! could be built.

mod results;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process::{start, succeeds};
use crate::progress::elapsed;
use crate::requirements;
use crate::setup::{self, Need, Purpose};
use crate::workspace::Workspace;
use results::Results;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for `cargo test`, for instance `-p sluice-model -- plan`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// How thorough a test is that has a short and a long form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Short,
    Long,
}

/// What the tests of every user need, and what only root's do: the tiers skip themselves without.
const NEEDS: [Need; 2] = [Need::Packages(Purpose::Build), Need::BpfLinker];
const NEEDS_OF_ROOT: [Need; 2] = [Need::Packages(Purpose::Cluster), Need::Cluster];

pub(crate) fn run(workspace: &Workspace, args: &Args, form: Form) -> Result<ExitCode> {
    let started = Instant::now();
    let results = Mutex::new(Results::default());
    let finished = build_and_test(workspace, args, form, &results);
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = &finished {
        eprintln!("error: {error:#}");
    }
    let in_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    let verdict = results.verdict(finished.unwrap_or(false), in_ci);
    for reason in results.skips() {
        println!("skipped: {reason}");
    }
    if let Err(reason) = &verdict {
        println!("failed: {reason}");
    }
    println!("took {} in all", elapsed(started.elapsed()));
    note_summary(workspace, &results)?;
    println!("{results}");
    Ok(if verdict.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Without root the tests run with what is there: a tool that is missing is a skip with its reason.
fn set_up(workspace: &Workspace, results: &Mutex<Results>) -> Result<()> {
    if requirements::is_root() {
        return setup::run(workspace, &[NEEDS, NEEDS_OF_ROOT].concat());
    }
    if let Err(error) = setup::run(workspace, &NEEDS) {
        let skip = format!("skipped: set-up: {error:#}");
        results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(&skip);
    }
    Ok(())
}

/// Keeps the closing line where CI finds it after whatever `make` prints behind a failure.
fn note_summary(workspace: &Workspace, results: &Results) -> Result<()> {
    let file = workspace.target.join("test-summary");
    fs::create_dir_all(&workspace.target)
        .and_then(|()| fs::write(&file, format!("{results}\n")))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// True when cargo was content with everything.
fn build_and_test(
    workspace: &Workspace,
    args: &Args,
    form: Form,
    results: &Mutex<Results>,
) -> Result<bool> {
    set_up(workspace, results)?;
    let which = if args.cargo.is_empty() {
        vec!["--workspace".to_owned()]
    } else {
        args.cargo.clone()
    };
    let building = Instant::now();
    if args.cargo.is_empty() {
        // With the tests' features from the start: every crate is compiled once, and binaries that
        // tests run are there.
        let built = succeeds(workspace.cargo().args([
            "build",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
        ]))?;
        if !built {
            return Ok(false);
        }
        eprintln!("build: {}", elapsed(building.elapsed()));
    }
    let testing = Instant::now();
    let mut cargo = workspace.cargo();
    cargo
        .args(["test", "--no-fail-fast"])
        .args(which)
        .env("SLUICE_TOOLS", workspace.tools());
    if form == Form::Long {
        cargo.env("SLUICE_LONG", "1");
    }
    let passed = watch(&mut cargo, results)?;
    eprintln!("tests: {}", elapsed(testing.elapsed()));
    Ok(passed)
}

/// Runs cargo, passes on its output line by line, and notes the lines that count.
fn watch(cargo: &mut Command, results: &Mutex<Results>) -> Result<bool> {
    let mut child = start(
        cargo
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| stderr.map(|stderr| pass_on(stderr, io::stderr(), results)));
        if let Some(stdout) = stdout {
            pass_on(stdout, io::stdout(), results);
        }
    });
    Ok(child.wait().context("cannot wait for cargo")?.success())
}

fn pass_on(from: impl Read, mut to: impl Write, results: &Mutex<Results>) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(mut line) = line else { return };
        results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(&String::from_utf8_lossy(&line));
        line.push(b'\n');
        // Where nobody reads on, the tests still run to their end and count.
        let _ = to.write_all(&line);
    }
}
