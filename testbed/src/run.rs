//! A run: the owner of everything that a test or a person makes on the machine.
//!
//! All names are made from the run's id, and a lock in the run's folder is held as long as the run lives. Both
//! together let a later start tell what a killed run left, and remove it. A child holds the lock too until it becomes
//! its program, and it enters its cgroup before: so when the lock is free, every process is in a cgroup of the run.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};

pub use leftovers::{Leftover, leftovers};
pub use sweep::sweep;

use crate::cgroup::Cgroup;
use crate::netns::Netns;
use crate::process::Command;
use crate::requirements::Host;

mod leftovers;
mod sweep;

/// Where the folders of all runs are.
pub const RUNS: &str = "/run/sluice-testbed";

const PREFIX: &str = "sluice-";
const LINK_PREFIX: &str = "sl";
const LOCK: &str = "lock";

/// The six hexadecimal digits from which all names of a run are made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u32);

/// A run. When its last handle is dropped, also in a panic, all that it made is removed; nodes and pods hold handles.
#[derive(Debug, Clone)]
pub struct Run {
    owned: Arc<Owned>,
}

#[derive(Debug)]
struct Owned {
    id: RunId,
    host: Host,
    folder: PathBuf,
    cgroup: Cgroup,
    _lock: Flock<File>,
}

impl RunId {
    const DIGITS: usize = 6;

    fn random() -> Self {
        Self(fastrand::u32(..1 << (4 * Self::DIGITS)))
    }

    /// The id of the run that gave something this name: `sluice-<id>` or `sluice-<id>-<what>`.
    pub fn of_name(name: &OsStr) -> Option<Self> {
        let rest = name.to_str()?.strip_prefix(PREFIX)?;
        let (id, what) = rest.split_at_checked(Self::DIGITS)?;
        if what.is_empty() || what.starts_with('-') {
            id.parse().ok()
        } else {
            None
        }
    }

    /// The id of the run that made the link of this name.
    pub fn of_link(name: &str) -> Option<Self> {
        name.strip_prefix(LINK_PREFIX)?
            .get(..Self::DIGITS)?
            .parse()
            .ok()
    }

    /// The run's name for a thing outside its folder.
    pub fn name(self) -> String {
        format!("{PREFIX}{self}")
    }

    pub fn folder(self) -> PathBuf {
        Path::new(RUNS).join(self.to_string())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0digits$x}", self.0, digits = Self::DIGITS)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != Self::DIGITS || !digits {
            bail!("{text:?} is no run id: six hexadecimal digits");
        }
        Ok(Self(u32::from_str_radix(text, 16)?))
    }
}

impl Run {
    /// Sweeps what killed runs left, and starts a new one.
    pub fn start() -> Result<Self> {
        let host = Host::find()?;
        if let Err(error) = sweep() {
            eprintln!("{error:#}");
        }
        let (id, lock) = claim()?;
        let folder = id.folder();
        for part in ["netns", "logs"] {
            fs::create_dir(folder.join(part))
                .with_context(|| format!("making {}/{part}", folder.display()))?;
        }
        let cgroup = Cgroup::create(host.cgroup2.join(id.name()))?;
        fs::create_dir(host.bpffs.join(id.name())).context("making a folder for BPF pins")?;
        let owned = Owned {
            id,
            host,
            folder,
            cgroup,
            _lock: lock,
        };
        Ok(Self {
            owned: Arc::new(owned),
        })
    }

    pub fn id(&self) -> RunId {
        self.owned.id
    }

    pub fn host(&self) -> &Host {
        &self.owned.host
    }

    /// The folder of the run; mounts below it are undone with it.
    pub fn folder(&self) -> &Path {
        &self.owned.folder
    }

    /// Where processes leave their output.
    pub fn logs(&self) -> PathBuf {
        self.owned.folder.join("logs")
    }

    /// A folder for BPF pins.
    pub fn bpffs(&self) -> PathBuf {
        self.owned.host.bpffs.join(self.owned.id.name())
    }

    /// The cgroup (version 2) for processes that are on no node.
    pub fn cgroup(&self) -> &Cgroup {
        &self.owned.cgroup
    }

    /// Makes the cgroup `sluice-<id>-<name>` at the root of cgroup v2.
    pub fn cgroup_named(&self, name: &str) -> Result<Cgroup> {
        Cgroup::create(self.owned.host.cgroup2.join(self.name(name)))
    }

    /// Makes the cgroup `sluice-<id>-<name>` at the root of every hierarchy, version 2 first.
    pub fn cgroups_named(&self, name: &str) -> Result<Vec<Cgroup>> {
        self.owned
            .host
            .hierarchies()
            .map(|root| Cgroup::create(root.join(self.name(name))))
            .collect()
    }

    /// A name for something that lives outside the run's folder: `sluice-<id>-<name>`.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.owned.id.name())
    }

    /// A name for a link in the host's network namespace (at most seven more letters fit).
    pub fn link_name(&self, name: &str) -> String {
        format!("{LINK_PREFIX}{}{name}", self.owned.id)
    }

    /// Makes a network namespace of the run.
    pub fn netns(&self, name: &str) -> Result<Netns> {
        Netns::create(self.owned.folder.join("netns").join(name))
    }

    /// A process of the run, in its cgroup, with its log: to be completed and spawned.
    pub fn command(&self, name: &str, program: impl AsRef<OsStr>) -> Command {
        Command::new(name, program)
            .log(self.logs().join(format!("{name}.log")))
            .cgroup(&self.owned.cgroup)
    }

    /// A process of the run that is this very program again.
    pub fn command_again(&self, name: &str) -> Command {
        Command::again(name)
            .log(self.logs().join(format!("{name}.log")))
            .cgroup(&self.owned.cgroup)
    }

    /// The last lines of each log.
    pub fn log_tails(&self, lines: usize) -> String {
        log_tails(&self.logs(), lines)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        crate::tier::keep_for_the_failure(|| log_tails(&self.folder.join("logs"), 30));
        if let Err(error) = sweep::remove(self.id, &self.host) {
            eprintln!("run {} was not removed whole: {error:#}", self.id);
        }
    }
}

/// Takes a free id with its folder and lock. The common lock keeps a sweep from seeing a folder not yet locked.
fn claim() -> Result<(RunId, Flock<File>)> {
    let _common = sweep::common_lock()?;
    loop {
        let id = RunId::random();
        let folder = id.folder();
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            made => made.with_context(|| format!("making {}", folder.display()))?,
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        let file = File::create_new(folder.join(LOCK))?;
        fs::write(folder.join(sweep::OWNER), std::process::id().to_string())?;
        return match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok((id, lock)),
            Err((_, errno)) => Err(errno).context("locking a new run"),
        };
    }
}

fn log_tails(folder: &Path, lines: usize) -> String {
    let mut logs: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    logs.sort();
    let mut tails = String::new();
    for log in logs {
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        let all: Vec<_> = text.lines().collect();
        if all.is_empty() {
            continue;
        }
        let name = log.file_stem().unwrap_or_default().display();
        for line in &all[all.len().saturating_sub(lines)..] {
            tails.push_str(&format!("{name}: {line}\n"));
        }
    }
    tails
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_run() {
        let id = RunId(0x00_0a_bc);
        assert_eq!(id.name(), "sluice-000abc");
        assert_eq!(RunId::of_name(OsStr::new("sluice-000abc")), Some(id));
        assert_eq!(RunId::of_name(OsStr::new("sluice-000abc-node-1")), Some(id));
        assert_eq!(RunId::of_link("sl000abcup"), Some(id));
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "sluice-agent1",
            "sluice-000abcd",
            "sluice-00",
            "sluice-00é0bc",
            "system.slice",
            "sluice-000ABC",
        ] {
            assert_eq!(RunId::of_name(OsStr::new(name)), None, "{name}");
        }
        assert_eq!(RunId::of_link("slirp0"), None);
    }
}
