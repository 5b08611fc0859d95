//! `xtask kernels`: boots kernels of several years and shows, in one table, what each has of what
//! Sluice uses and how the kernel tier does on it.
//!
//! A kernel that is too old is part of it: there the agent has to end with its one sentence.

mod archive;
mod boot;
mod cpio;
mod initramfs;
mod payload;
mod releases;
mod report;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Need, Purpose};
use crate::test::Form;
use crate::workspace::Workspace;
use archive::Kernel;
use payload::Payload;
use releases::{RELEASES, Release};
use report::Table;

pub(crate) use report::Report;

/// The name of the command that probes features.
const FEATURES: &str = "features";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these kernels, for instance `6.1 newest`.
    kernels: Vec<String>,
    /// Only the few tests that `make test` runs on each.
    #[arg(long)]
    short: bool,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let form = if args.short { Form::Short } else { Form::Long };
    let reports = test(workspace, &chosen(&args.kernels)?, form)?;
    let failed = reports.iter().any(|report| !report.against.is_empty());
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Boots every kernel and prints the table.
pub(crate) fn test_all(workspace: &Workspace, form: Form) -> Result<Vec<Report>> {
    test(workspace, &RELEASES.iter().collect::<Vec<_>>(), form)
}

fn test(workspace: &Workspace, releases: &[&'static Release], form: Form) -> Result<Vec<Report>> {
    setup::run(
        workspace,
        &[
            Need::Packages(Purpose::Build),
            Need::Packages(Purpose::Kernels),
            Need::BpfLinker,
        ],
    )?;
    let folder = workspace.target.join("kernels");
    eprintln!("kernels: building the static programs");
    let payload = Payload::build(workspace, &folder)?;
    let machines = releases
        .iter()
        .map(|release| {
            Machine::prepare(
                workspace,
                release,
                &payload,
                form,
                &folder.join(release.name),
            )
        })
        .collect::<Result<Vec<_>>>()?;
    let reports = run_some_at_once(&machines, &payload.init()?)?;
    print!("{}", Table(&reports));
    Ok(reports)
}

/// A virtual machine that is ready to be started.
struct Machine {
    release: &'static Release,
    kernel: Kernel,
    initramfs: PathBuf,
    folder: PathBuf,
}

impl Machine {
    fn prepare(
        workspace: &Workspace,
        release: &'static Release,
        payload: &Payload,
        form: Form,
        folder: &Path,
    ) -> Result<Machine> {
        let prepare = || -> Result<Machine> {
            let kernel = archive::fetch(workspace, release)?;
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            let initramfs = folder.join("initramfs.cpio");
            let mut commands = vec![payload.probe()];
            if release.supported {
                commands.extend(payload.tests(form, release.setting.as_ref()));
            }
            let shown = release.setting.map(|setting| setting.file);
            initramfs::write(&initramfs, &kernel, payload, &commands, shown)?;
            Ok(Machine {
                release,
                kernel,
                initramfs,
                folder: folder.to_owned(),
            })
        };
        prepare().with_context(|| format!("Linux {} could not be prepared", release.name))
    }

    fn run(&self, init: &str) -> Result<Report> {
        let Release { name, setting, .. } = self.release;
        let argument = setting.as_ref().map_or("", |setting| setting.argument);
        let image = &self.kernel.image;
        let ended = boot::boot(image, &self.initramfs, init, argument, &self.folder)?;
        let mut report = Report::read(self.release, ended.boot, &ended.output);
        if !ended.by_itself {
            report
                .against
                .push("it did not end in time and was switched off".to_owned());
        }
        if report.against.is_empty() {
            eprintln!("kernels: {name} is fine");
        } else {
            let sentences = report.against.join("\n  ");
            eprintln!("{}", ended.output);
            eprintln!(
                "kernels: {name} is NOT fine:\n  {sentences}\n  the kernel's messages: {}",
                ended.serial.display()
            );
        }
        Ok(report)
    }
}

/// As many machines at once as this one has processors; the reports are in the order of the machines.
fn run_some_at_once(machines: &[Machine], init: &str) -> Result<Vec<Report>> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(machine) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = machine.run(init);
                    reports
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((machine.release.name, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(name, _)| {
        machines
            .iter()
            .position(|machine| machine.release.name == *name)
    });
    let named = reports
        .into_iter()
        .map(|(name, report)| report.with_context(|| format!("Linux {name} did not run")));
    named.collect()
}

fn chosen(names: &[String]) -> Result<Vec<&'static Release>> {
    if names.is_empty() {
        return Ok(RELEASES.iter().collect());
    }
    let known: Vec<_> = RELEASES.iter().map(|release| release.name).collect();
    let find = |name: &String| {
        RELEASES
            .iter()
            .find(|release| release.name == name.as_str())
    };
    let chosen: Option<Vec<_>> = names.iter().map(find).collect();
    match chosen {
        Some(chosen) => Ok(chosen),
        None => bail!("the kernels are {}", known.join(", ")),
    }
}
