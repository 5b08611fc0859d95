//! Removal of runs: one's own at its end, and those whose owner was killed.
//!
//! Safe at any moment and from several programs at once: only who holds a run's lock removes it, everything is found
//! by name, and the folder that tells of the run goes last.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::fcntl::{Flock, FlockArg};

use super::{LOCK, RUNS, RunId, leftovers};
use crate::link::Links;
use crate::requirements::Host;
use crate::{cgroup, mount};

pub(super) const OWNER: &str = "owner";

const COMMON_LOCK: &str = ".lock";
/// How long a child of a killed run may still hold its lock on the way from fork to exec.
const GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

/// Who may remove a run.
enum Claim {
    Ours(#[expect(dead_code, reason = "held, not read")] Flock<File>),
    OfSomebodyElse,
    /// A run makes its folder first and removes it last: what is left without one belongs to nobody.
    NoFolder,
}

/// Removes all runs whose owner is dead; returns their ids. One that cannot be removed does not keep the others.
pub fn sweep() -> Result<Vec<RunId>> {
    let host = Host::find()?;
    let mut swept = Vec::new();
    let mut failures = Vec::new();
    for id in leftovers()?.into_keys() {
        let claim = claim(id)?;
        if matches!(claim, Claim::OfSomebodyElse) {
            continue;
        }
        match remove(id, &host) {
            Ok(()) => swept.push(id),
            Err(error) => failures.push(format!("run {id} was not swept: {error:#}")),
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    Ok(swept)
}

/// Removes everything of one run. The caller holds its lock.
pub(super) fn remove(id: RunId, host: &Host) -> Result<()> {
    for tree in cgroups(id, host)? {
        cgroup::destroy(&tree)?;
    }
    for folder in pins(id, host)? {
        remove_folder(&folder)?;
    }
    let links = Links::of_this_thread()?;
    for link in links
        .names()?
        .iter()
        .filter(|name| RunId::of_link(name) == Some(id))
    {
        links.delete(link)?;
    }
    mount::unmount_below(&id.folder())?;
    let _common = common_lock()?;
    remove_folder(&id.folder())
}

/// Whether the run lives: somebody holds its lock, and that is more than a child on the way from fork to exec.
pub(super) fn is_alive(id: RunId) -> Result<bool> {
    let deadline = Instant::now() + GRACE;
    while matches!(claim(id)?, Claim::OfSomebodyElse) {
        if owner_lives(id) || Instant::now() > deadline {
            return Ok(true);
        }
        thread::sleep(PAUSE);
    }
    Ok(false)
}

/// The lock that is held while a run's folder is made, looked at, or removed.
pub(super) fn common_lock() -> Result<Flock<File>> {
    fs::create_dir_all(RUNS).with_context(|| format!("making {RUNS}"))?;
    let path = Path::new(RUNS).join(COMMON_LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    match Flock::lock(file, FlockArg::LockExclusive) {
        Ok(lock) => Ok(lock),
        Err((_, errno)) => Err(errno).with_context(|| format!("locking {}", path.display())),
    }
}

/// The ids of all runs that have a folder.
pub(super) fn ids() -> Result<BTreeSet<RunId>> {
    let entries = match fs::read_dir(RUNS) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        other => other.with_context(|| format!("listing {RUNS}"))?,
    };
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// The cgroups of a run at the root of every hierarchy.
pub(super) fn cgroups(id: RunId, host: &Host) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for root in host.hierarchies() {
        found.extend(named(id, root)?);
    }
    Ok(found)
}

/// The folders of a run in the BPF file system.
pub(super) fn pins(id: RunId, host: &Host) -> Result<Vec<PathBuf>> {
    named(id, &host.bpffs)
}

fn named(id: RunId, root: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root).with_context(|| format!("listing {}", root.display()))?;
    Ok(entries
        .flatten()
        .filter(|entry| RunId::of_name(&entry.file_name()) == Some(id))
        .map(|entry| entry.path())
        .collect())
}

fn claim(id: RunId) -> Result<Claim> {
    let _common = common_lock()?;
    if !id.folder().exists() {
        return Ok(Claim::NoFolder);
    }
    let path = id.folder().join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    Ok(match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Claim::Ours(lock),
        Err(_) => Claim::OfSomebodyElse,
    })
}

/// False only when the process that started the run is certainly gone.
fn owner_lives(id: RunId) -> bool {
    match fs::read_to_string(id.folder().join(OWNER)) {
        Ok(pid) => Path::new("/proc").join(pid).exists(),
        Err(_) => true,
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
