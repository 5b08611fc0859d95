//! The harness of tests that need more than a compiler: root, BPF, a cluster's programs.
//!
//! A test binary with `harness = false` hands its tests to [`main`]. Where the machine lacks what the tier needs, the
//! tests are reported as ignored and one line says why; under `CI` that is a failure. When a test fails, the logs of
//! the runs that it started are printed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::cluster::Tools;
use crate::command;
use crate::requirements::{Host, Missing};

const PAUSE: Duration = Duration::from_millis(5);

thread_local! {
    static KEPT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static AT_END: Mutex<Vec<Box<dyn FnOnce() + Send>>> = Mutex::new(Vec::new());

/// What a binary's tests need of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Root, cgroup v2, BPF.
    Kernel,
    /// The same, and the agent's binary.
    Files,
    /// The same, and the programs of a cluster.
    Cluster,
}

/// A named test; see [`test!`](crate::test).
#[derive(Debug, Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub run: fn() -> Result<()>,
    /// Why this one cannot be run where others of the tier can.
    pub lacks: Option<&'static str>,
}

impl Test {
    /// Leaves the test out, with the reason, where something is chosen that cannot do what it needs.
    pub fn lacking(self, lacks: Option<&'static str>) -> Self {
        Self { lacks, ..self }
    }
}

/// Makes a [`Test`] of a function, named as the function is.
#[macro_export]
macro_rules! test {
    ($function:ident) => {
        $crate::tier::Test {
            name: stringify!($function),
            run: $function,
            lacks: None,
        }
    };
}

pub use crate::test;

/// Something that several tests of a binary use: made by the first that asks, removed after the last test.
///
/// A static is never dropped, so a guard inside one would never tear down; this one does.
pub struct Shared<T: 'static> {
    make: fn() -> Result<T>,
    made: Mutex<Option<Result<Arc<T>, String>>>,
}

impl Tier {
    /// What the machine lacks for this tier.
    pub fn check(self) -> Result<(), Missing> {
        Host::find()?;
        match self {
            Self::Kernel | Self::Files => Ok(()),
            Self::Cluster => Tools::find().map(drop),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Files => "files",
            Self::Cluster => "cluster",
        })
    }
}

/// Runs the tests; the whole of a test binary's `main`.
pub fn main(tier: Tier, tests: Vec<Test>) -> ExitCode {
    crate::entry();
    if command::is_called() {
        return command::main();
    }
    main_if(tier, tier.check(), tests)
}

/// As [`main`], for a tier that needs more than is checked there; call [`entry`](crate::entry) first.
pub fn main_if(tier: Tier, needs: Result<(), Missing>, tests: Vec<Test>) -> ExitCode {
    conduct(tier, needs, tests, &Arguments::from_args())
}

/// As [`main_if`], with so many tests at a time unless the command line says else: for tests that wait for others' programs more
/// than they work themselves.
pub fn main_of_many(
    threads: usize,
    tier: Tier,
    needs: Result<(), Missing>,
    tests: Vec<Test>,
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    conduct(tier, needs, tests, &arguments)
}

fn conduct(
    tier: Tier,
    needs: Result<(), Missing>,
    tests: Vec<Test>,
    arguments: &Arguments,
) -> ExitCode {
    let missing = needs.err();
    let mut left_out = BTreeMap::<_, usize>::new();
    for lacks in tests.iter().filter_map(|test| test.lacks) {
        *left_out.entry(lacks).or_default() += 1;
    }
    let trials = tests
        .into_iter()
        .map(|test| {
            let lacks = test.lacks.map(|lacks| Missing(lacks.to_owned()));
            let missing = missing.clone().or(lacks);
            Trial::ignorable_test(test.name, move || match missing {
                Some(Missing(reason)) => Ok(Completion::ignored_with(reason)),
                None => run(&test).map(|()| Completion::Completed),
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    for work in std::mem::take(&mut *lock(&AT_END)) {
        work();
    }
    let skipped = conclusion.num_ignored;
    match missing {
        Some(reason) if skipped > 0 => {
            println!("skipped: {tier} tier, {skipped} tests: {reason}");
            if is_ci() {
                ExitCode::FAILURE
            } else {
                conclusion.exit_code()
            }
        }
        // That was asked for, and is no lack of the machine.
        _ => {
            for (reason, tests) in left_out.iter().filter(|_| skipped > 0) {
                println!("skipped: {tier} tier, {tests} tests: {reason}");
            }
            conclusion.exit_code()
        }
    }
}

/// Awaits a condition: asks until it holds, or fails with its last answer when the deadline is over.
pub fn eventually<T>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("after {patience:?} still not: {what}")));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Whether the long forms of tests are asked for.
pub fn is_long() -> bool {
    is_set("SLUICE_LONG")
}

/// Where a test's random choices come from: printed, and repeated by `SLUICE_SEED`.
pub fn seed() -> Result<u64> {
    let seed = match env::var("SLUICE_SEED") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("SLUICE_SEED={text:?}"))?,
        Err(_) => fastrand::u64(..),
    };
    println!("seed {seed} (SLUICE_SEED repeats it)");
    Ok(seed)
}

/// Does `work` after the last test of the binary.
pub fn at_end(work: impl FnOnce() + Send + 'static) {
    lock(&AT_END).push(Box::new(work));
}

/// Keeps a text to be printed if the test that this thread runs fails.
pub fn keep_for_the_failure(text: impl FnOnce() -> String) {
    KEPT.with_borrow_mut(|kept| {
        if let Some(kept) = kept {
            kept.push(text());
        }
    });
}

impl<T: Send + Sync + 'static> Shared<T> {
    pub const fn new(make: fn() -> Result<T>) -> Self {
        Self {
            make,
            made: Mutex::new(None),
        }
    }

    /// The shared thing; made now if this is the first call. A making that failed is not tried again.
    pub fn get(&'static self) -> Result<Arc<T>> {
        let mut made = lock(&self.made);
        let result = made.get_or_insert_with(|| {
            at_end(|| drop(lock(&self.made).take()));
            let result = catch_unwind(self.make).unwrap_or_else(|_| Err(anyhow!("it panicked")));
            result.map(Arc::new).map_err(|error| format!("{error:#}"))
        });
        match result {
            Ok(thing) => Ok(Arc::clone(thing)),
            Err(error) => bail!("what the tests share could not be made: {error}"),
        }
    }
}

fn run(test: &Test) -> Result<(), Failed> {
    KEPT.set(Some(Vec::new()));
    let result = catch_unwind(AssertUnwindSafe(test.run));
    let kept = KEPT.take().unwrap_or_default();
    let failure = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it panicked")
                .to_owned()
        }
    };
    let mut stderr = io::stderr().lock();
    for text in kept.iter().filter(|text| !text.is_empty()) {
        let _ = writeln!(
            stderr,
            "what a run of {} left in its logs:\n{text}",
            test.name
        );
    }
    Err(failure.into())
}

fn is_ci() -> bool {
    is_set("CI")
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// A panic in a test says nothing about the value: go on.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
