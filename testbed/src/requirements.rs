//! What the machine must have, and where it is: root, cgroup v2, BPF and its file system.
//!
//! A thing that is missing but can be mounted is mounted; else the error is one sentence that says what to do.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::unistd::geteuid;

use crate::{bpf, mount as mounts, netns};

const BPFFS: &str = "/sys/fs/bpf";
const CGROUP2: &str = "/sys/fs/cgroup";

/// The places of this machine that runs build on.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where cgroup v2 is mounted; on a hybrid layout this is not `/sys/fs/cgroup` itself.
    pub cgroup2: PathBuf,
    /// The cgroup v1 hierarchies beside it, none on a machine that has v2 only.
    pub cgroup1: Vec<PathBuf>,
    pub bpffs: PathBuf,
}

/// What the machine lacks, as a sentence for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

impl Host {
    /// Finds, or mounts, what runs need.
    pub fn find() -> Result<Self, Missing> {
        if !geteuid().is_root() {
            return Err(missing("needs root: run it as root"));
        }
        netns::probe().map_err(|errno| {
            missing(format!(
                "needs the right to make network namespaces ({errno}): run it as root outside an unprivileged container"
            ))
        })?;
        bpf::probe().map_err(|errno| match errno {
            Errno::ENOSYS => missing("needs BPF: boot a kernel with CONFIG_BPF_SYSCALL"),
            _ => missing(format!(
                "needs BPF, but the kernel refuses to make a map ({errno}): run it as root with CAP_BPF and CAP_NET_ADMIN"
            )),
        })?;
        let table = mounts::table().map_err(|error| missing(format!("needs /proc: {error:#}")))?;
        let cgroup1 = table
            .iter()
            .filter(|mount| mount.kind == "cgroup")
            .map(|mount| mount.point.clone())
            .collect::<Vec<_>>();
        let cgroup2 = match table.iter().find(|mount| mount.kind == "cgroup2") {
            Some(mount) => mount.point.clone(),
            None => mount_cgroup2(&cgroup1)?,
        };
        let bpffs = match table.iter().find(|mount| mount.kind == "bpf") {
            Some(mount) => mount.point.clone(),
            None => mount_bpffs()?,
        };
        Ok(Self {
            cgroup2,
            cgroup1,
            bpffs,
        })
    }

    /// Every cgroup hierarchy of the machine, v2 first.
    pub fn hierarchies(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.cgroup2)
            .chain(&self.cgroup1)
            .map(PathBuf::as_path)
    }
}

fn mount_cgroup2(cgroup1: &[PathBuf]) -> Result<PathBuf, Missing> {
    let point = if cgroup1.is_empty() {
        PathBuf::from(CGROUP2)
    } else {
        Path::new(CGROUP2).join("unified")
    };
    let made = fs::create_dir_all(&point).is_ok()
        && mount(
            Some("cgroup2"),
            &point,
            Some("cgroup2"),
            MsFlags::empty(),
            None::<&str>,
        )
        .is_ok();
    if made {
        Ok(point)
    } else {
        Err(missing(format!(
            "needs cgroup v2: mount it (mount -t cgroup2 none {}) or boot with systemd.unified_cgroup_hierarchy=1",
            point.display()
        )))
    }
}

fn mount_bpffs() -> Result<PathBuf, Missing> {
    let point = PathBuf::from(BPFFS);
    mount(
        Some("bpf"),
        &point,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .map_err(|errno| {
        missing(format!(
            "needs the BPF file system ({errno}): mount it (mount -t bpf bpf {BPFFS})"
        ))
    })?;
    Ok(point)
}

fn missing(sentence: impl Into<String>) -> Missing {
    Missing(sentence.into())
}
