//! The set-up: a list of steps, each of which knows whether it is done and how to do it.
//!
//! A step is either something about this machine ([`packages`]) or an entry of the cache, keyed by
//! what goes into it ([`bpf_linker`], [`go`]). After the last step `target/tools` holds a link to
//! every tool. A set-up that has nothing to do says one line, in well under a second.

mod bpf_linker;
mod go;
mod links;
mod packages;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::key::Key;
use crate::progress::{Progress, elapsed};
use crate::requirements;
use crate::workspace::Workspace;

pub(crate) use packages::Purpose;

/// What a task can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Packages(Purpose),
    BpfLinker,
    /// The control plane, container runtime and name server of the testbed's clusters.
    Cluster,
}

/// What `make setup` prepares: all that any other target needs, so that they can be used off-line
/// afterwards.
pub(crate) const EVERYTHING: [Need; 7] = [
    Need::Packages(Purpose::Build),
    Need::Packages(Purpose::Cluster),
    Need::Packages(Purpose::Clients),
    Need::Packages(Purpose::Lint),
    Need::Packages(Purpose::Kernels),
    Need::BpfLinker,
    Need::Cluster,
];

/// A link below `target/tools` and what it points to.
struct Tool {
    name: String,
    path: PathBuf,
}

impl Tool {
    fn new(name: &str, path: PathBuf) -> Tool {
        Tool {
            name: name.to_owned(),
            path,
        }
    }
}

trait Step {
    fn title(&self) -> String;
    fn is_done(&self) -> Result<bool>;
    fn carry_out(&self, progress: &Progress) -> Result<()>;
    /// What the step provides once it is done.
    fn tools(&self) -> Result<Vec<Tool>>;
}

/// Carries out what is missing of `needs`, in order, and links the tools.
pub(crate) fn run(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    let started = Instant::now();
    let steps = steps(workspace, needs)?;
    let mut tools = Vec::new();
    let mut said = false;
    for (index, step) in steps.iter().enumerate() {
        if !step.is_done()? {
            if !said {
                eprintln!("set-up: cache in {}", workspace.cache.display());
                requirements::disk(&workspace.cache)?;
                requirements::disk(&workspace.target)?;
                said = true;
            }
            let title = format!("{}/{} {}", index + 1, steps.len(), step.title());
            let progress = Progress::start(&title);
            step.carry_out(&progress)
                .with_context(|| format!("{} could not be set up", step.title()))?;
            progress.done("done");
        }
        tools.extend(step.tools()?);
    }
    links::place(&workspace.tools(), &tools)?;
    eprintln!(
        "set-up: {} steps, all there ({})",
        steps.len(),
        elapsed(started.elapsed())
    );
    Ok(())
}

fn steps(workspace: &Workspace, needs: &[Need]) -> Result<Vec<Box<dyn Step>>> {
    let mut purposes = Vec::new();
    let mut builds: Vec<Box<dyn Step>> = Vec::new();
    for need in needs {
        match need {
            Need::Packages(purpose) => purposes.push(*purpose),
            Need::BpfLinker => builds.push(Box::new(bpf_linker::step(workspace)?)),
            Need::Cluster => {
                for module in go::modules(workspace)? {
                    builds.push(Box::new(module));
                }
            }
        }
    }
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(packages::Packages::new(&purposes))];
    steps.append(&mut builds);
    Ok(steps)
}

/// A program or several, built into one entry of the cache.
pub(crate) struct Cached<B> {
    pub(crate) cache: Cache,
    pub(crate) key: Key,
    pub(crate) build: B,
}

/// The entry of something that a single task needs; made with the same progress as a step.
pub(crate) fn provide<B: Build>(cached: &Cached<B>) -> Result<PathBuf> {
    if !cached.is_done()? {
        let progress = Progress::start(&cached.title());
        let made = cached.carry_out(&progress);
        made.with_context(|| format!("{} could not be set up", cached.title()))?;
        progress.done("done");
    }
    Ok(cached.cache.entry(&cached.key))
}

pub(crate) trait Build {
    fn title(&self) -> String;
    /// Builds into `site.out`; everything printed goes to the log.
    fn build(
        &self,
        site: &crate::cache::Site,
        log: &std::path::Path,
        progress: &Progress,
    ) -> Result<()>;
    /// The names of the tools and their paths inside the entry.
    fn provides(&self) -> Vec<(String, PathBuf)>;
}

impl<B: Build> Step for Cached<B> {
    fn title(&self) -> String {
        self.build.title()
    }

    fn is_done(&self) -> Result<bool> {
        Ok(self.cache.has(&self.key))
    }

    fn carry_out(&self, progress: &Progress) -> Result<()> {
        let log = self.cache.log(&self.key);
        let waiting = || progress.doing("another run is making it: waiting for that");
        self.cache.ensure(&self.key, waiting, |site| {
            self.build.build(site, &log, progress)
        })?;
        Ok(())
    }

    fn tools(&self) -> Result<Vec<Tool>> {
        let entry = self.cache.entry(&self.key);
        Ok(self
            .build
            .provides()
            .into_iter()
            .map(|(name, path)| Tool::new(&name, entry.join(path)))
            .collect())
    }
}
