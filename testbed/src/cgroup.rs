//! Cgroups of both kinds: made below the root of a hierarchy, ended with all that is in them.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long killed processes may take to be gone.
const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

/// A cgroup, named by its folder; removed with all below it, and all processes killed, by [`Cgroup::destroy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes the cgroup and its parents; one that exists is taken as it is.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)
            .and_then(|()| inherit_cpuset(&path))
            .with_context(|| format!("making the cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// Makes a cgroup below this one; `name` may have several parts.
    pub fn child(&self, name: impl AsRef<Path>) -> Result<Self> {
        Self::create(self.path.join(name))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number by which the kernel and BPF know a cgroup of version 2: its inode.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path)
            .with_context(|| format!("looking at {}", self.path.display()))?
            .ino())
    }

    /// The processes in this cgroup and below it.
    pub fn processes(&self) -> Result<BTreeSet<i32>> {
        processes(&self.path)
    }

    /// Moves a process here.
    pub fn add(&self, pid: u32) -> Result<()> {
        let path = self.path.join("cgroup.procs");
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
            .with_context(|| format!("moving process {pid} to {}", path.display()))
    }

    /// Kills everything in the cgroup and below it, and removes it.
    pub fn destroy(&self) -> Result<()> {
        destroy(&self.path)
    }
}

/// Kills everything in the tree and removes it, deepest first; a tree that is gone is fine.
pub fn destroy(tree: &Path) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        kill_all(tree)?;
        match remove(tree) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!(
                    "{} stays: {error}; processes in it: {:?}",
                    tree.display(),
                    processes(tree)?
                )
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// The processes in `tree` and below it.
pub fn processes(tree: &Path) -> Result<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for folder in folders(tree).with_context(|| format!("listing {}", tree.display()))? {
        // A cgroup may go while we look; one that is threaded answers EOPNOTSUPP, and its domain has the processes.
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    Ok(found)
}

/// A cpuset of version 1 starts with no processor and no memory, and takes no process until it has both.
fn inherit_cpuset(path: &Path) -> io::Result<()> {
    if path.join("cgroup.controllers").exists() {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = path.join(file);
        let Some(parent) = path.parent().map(|parent| parent.join(file)) else {
            return Ok(());
        };
        if own.exists() && fs::read_to_string(&own)?.trim().is_empty() {
            fs::write(own, fs::read_to_string(parent)?.trim())?;
        }
    }
    Ok(())
}

fn kill_all(tree: &Path) -> Result<()> {
    if fs::write(tree.join("cgroup.kill"), "1").is_ok() {
        return Ok(());
    }
    // Version 1, and version 2 before kernel 5.14, have no such file.
    for pid in processes(tree)? {
        // Zero stands for a process outside our PID namespace, and as an argument of kill for our own group.
        if pid > 0 {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    Ok(())
}

fn remove(tree: &Path) -> io::Result<()> {
    for folder in folders(tree)?.into_iter().rev() {
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// `tree` and all folders below it, parents before children; none if it is gone.
fn folders(tree: &Path) -> io::Result<Vec<PathBuf>> {
    if !tree.exists() {
        return Ok(Vec::new());
    }
    let mut found = vec![tree.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}
