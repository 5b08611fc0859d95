//! A list of what runs have left on the machine: by it a test shows that nothing remains.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{RUNS, RunId, sweep};
use crate::link::Links;
use crate::requirements::Host;
use crate::{cgroup, mount};

/// Something that belongs to a run whose owner is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    Process {
        pid: i32,
        cgroup: PathBuf,
    },
    Cgroup(PathBuf),
    /// A network namespace's path is one of these.
    Mount(PathBuf),
    Pin(PathBuf),
    Link(String),
    Folder(PathBuf),
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, cgroup } => write!(f, "process {pid} in {}", cgroup.display()),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::Pin(path) => write!(f, "BPF pin {}", path.display()),
            Self::Link(name) => write!(f, "link {name}"),
            Self::Folder(path) => write!(f, "folder {}", path.display()),
        }
    }
}

/// Everything of runs that do not live, by run, wherever it is; what living runs have is not listed.
pub fn leftovers() -> Result<BTreeMap<RunId, Vec<Leftover>>> {
    let host = Host::find()?;
    let mut survey = Survey::default();
    for id in sweep::ids()? {
        survey.add(id, || Ok(vec![Leftover::Folder(id.folder())]))?;
    }
    for root in host.hierarchies() {
        for (id, path) in named(root)? {
            survey.add(id, || in_cgroup(path))?;
        }
    }
    for (id, path) in named(&host.bpffs)? {
        survey.add(id, || Ok(vec![Leftover::Pin(path)]))?;
    }
    for point in mount::below(Path::new(RUNS))? {
        if let Some(id) = of_point(&point) {
            survey.add(id, || Ok(vec![Leftover::Mount(point)]))?;
        }
    }
    for name in Links::of_this_thread()?.names()? {
        if let Some(id) = RunId::of_link(&name) {
            survey.add(id, || Ok(vec![Leftover::Link(name)]))?;
        }
    }
    Ok(survey.found)
}

#[derive(Default)]
struct Survey {
    alive: BTreeMap<RunId, bool>,
    found: BTreeMap<RunId, Vec<Leftover>>,
}

impl Survey {
    fn add(&mut self, id: RunId, things: impl FnOnce() -> Result<Vec<Leftover>>) -> Result<()> {
        let alive = match self.alive.get(&id) {
            Some(alive) => *alive,
            None => *self.alive.entry(id).or_insert(sweep::is_alive(id)?),
        };
        if !alive {
            // A run may have come to its end since it was listed.
            let things = things()?.into_iter().filter(Leftover::exists);
            for thing in things {
                self.found.entry(id).or_default().push(thing);
            }
        }
        Ok(())
    }
}

impl Leftover {
    fn exists(&self) -> bool {
        match self {
            Self::Cgroup(path) | Self::Pin(path) | Self::Folder(path) | Self::Mount(path) => {
                path.exists()
            }
            Self::Process { .. } | Self::Link(_) => true,
        }
    }
}

fn in_cgroup(path: PathBuf) -> Result<Vec<Leftover>> {
    let processes = cgroup::processes(&path)?.into_iter();
    let mut found: Vec<_> = processes
        .map(|pid| Leftover::Process {
            pid,
            cgroup: path.clone(),
        })
        .collect();
    found.push(Leftover::Cgroup(path));
    Ok(found)
}

fn of_point(point: &Path) -> Option<RunId> {
    point
        .strip_prefix(RUNS)
        .ok()?
        .iter()
        .next()?
        .to_str()?
        .parse()
        .ok()
}

fn named(root: &Path) -> Result<Vec<(RunId, PathBuf)>> {
    let entries = fs::read_dir(root).with_context(|| format!("listing {}", root.display()))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| Some((RunId::of_name(&entry.file_name())?, entry.path())))
        .collect())
}
