//! `xtask test`: the set-up, one build, every test, and one closing line.
//!
//! Tests are ordinary cargo tests. The tiers that need root are test targets like any other, run by
//! a harness that reports what it lacks; this runner starts cargo once, shows its output as it
//! comes, boots the other kernels, and counts. The last line is always `N passed, N failed, N
//! skipped`, also when nothing could be built.

mod results;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::images;
use crate::kernels;
use crate::process::{start, succeeds};
use crate::progress::elapsed;
use crate::requirements;
use crate::setup::{self, Need, Purpose};
use crate::workspace::Workspace;

pub(crate) use results::Results;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for `cargo test`, for instance `-p sluice-model -- plan`; then nothing else runs.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// How thorough a test is that has a short and a long form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Short,
    Long,
}

/// The package whose tests raise clusters.
const CLUSTER_TESTS: &str = "sluice-kind-tests";

/// What every user's tests need, and what only root's do: the tiers skip themselves without.
const NEEDS: &[Need] = &[Need::Packages(Purpose::Build), Need::BpfLinker];
const NEEDS_OF_ROOT: &[Need] = &[
    Need::Packages(Purpose::Cluster),
    Need::Packages(Purpose::Clients),
    Need::Cluster,
];

pub(crate) fn run(workspace: &Workspace, args: &Args, form: Form) -> Result<ExitCode> {
    let started = Instant::now();
    let session = Session {
        workspace,
        form,
        results: Mutex::default(),
    };
    let content = if args.cargo.is_empty() {
        session.everything()
    } else {
        session.some(&args.cargo)
    };
    if let Err(error) = &content {
        eprintln!("error: {error:#}");
    }
    let results = session
        .results
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let in_ci = env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    let verdict = results.verdict(content.unwrap_or(false), in_ci);
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

/// Keeps the closing line where CI finds it after whatever `make` prints behind a failure.
fn note_summary(workspace: &Workspace, results: &Results) -> Result<()> {
    let file = workspace.target.join("test-summary");
    fs::create_dir_all(&workspace.target)
        .and_then(|()| fs::write(&file, format!("{results}\n")))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// A run of tests and what it counted. Its steps return false when something was wrong that the
/// counts do not show, after it was said.
struct Session<'a> {
    workspace: &'a Workspace,
    form: Form,
    results: Mutex<Results>,
}

impl Session<'_> {
    fn everything(&self) -> Result<bool> {
        self.set_up()?;
        let building = Instant::now();
        if !self.build()? {
            return Ok(false);
        }
        eprintln!("build: {}", elapsed(building.elapsed()));
        let testing = Instant::now();
        let tests = self.cargo_test(&["--workspace".to_owned()])?;
        eprintln!("tests: {}", elapsed(testing.elapsed()));
        let booting = Instant::now();
        let kernels = self.kernels()?;
        eprintln!("kernels: {}", elapsed(booting.elapsed()));
        Ok(tests && kernels)
    }

    fn some(&self, which: &[String]) -> Result<bool> {
        self.set_up()?;
        let clusters = which.iter().any(|word| word == CLUSTER_TESTS);
        if clusters && !self.build()? {
            return Ok(false);
        }
        self.cargo_test(which)
    }

    /// Builds everything, and writes the images: clusters run what this checkout makes, not what is left of another.
    fn build(&self) -> Result<bool> {
        // With the tests' features from the start: every crate is compiled once, and the binaries
        // that tests run are there.
        let mut build = self.workspace.cargo();
        build.args(["build", "--workspace", "--lib", "--bins", "--tests"]);
        if !succeeds(&mut build)? {
            return Ok(false);
        }
        if requirements::is_root() {
            images::for_tests(self.workspace)?;
        }
        Ok(true)
    }

    /// Without root the tests run with what is there: a tool that is missing is a skip with its
    /// reason.
    fn set_up(&self) -> Result<()> {
        if requirements::is_root() {
            return setup::run(self.workspace, &[NEEDS, NEEDS_OF_ROOT].concat());
        }
        if let Err(error) = setup::run(self.workspace, NEEDS) {
            self.skip("set-up", &error);
        }
        Ok(())
    }

    /// Runs cargo, passes on its output line by line, and notes the lines that count.
    fn cargo_test(&self, which: &[String]) -> Result<bool> {
        let mut cargo = self.workspace.cargo();
        cargo
            .args(["test", "--no-fail-fast"])
            .args(which)
            .env("SLUICE_TOOLS", self.workspace.tools())
            .env("SLUICE_IMAGES", images::folder(self.workspace, true))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.form == Form::Long {
            cargo.env("SLUICE_LONG", "1");
        }
        let mut child = start(&mut cargo)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            scope.spawn(|| stderr.map(|stderr| self.pass_on(stderr, io::stderr())));
            if let Some(stdout) = stdout {
                self.pass_on(stdout, io::stdout());
            }
        });
        let status = child.wait().context("cannot wait for cargo")?;
        Ok(status.success())
    }

    fn pass_on(&self, from: impl Read, mut to: impl Write) {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(mut line) = line else { return };
            self.results().note(&String::from_utf8_lossy(&line));
            line.push(b'\n');
            // Where nobody reads on, the tests still run to their end and count.
            let _ = to.write_all(&line);
        }
    }

    fn kernels(&self) -> Result<bool> {
        let reports = match kernels::test_all(self.workspace, self.form) {
            Err(error) if !requirements::is_root() => {
                self.skip("kernels", &error);
                return Ok(true);
            }
            reports => reports?,
        };
        let mut fine = true;
        for report in reports {
            fine &= report.against.is_empty();
            self.results().add(report.results);
        }
        Ok(fine)
    }

    fn skip(&self, what: &str, why: &anyhow::Error) {
        self.results().note(&format!("skipped: {what}: {why:#}"));
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
