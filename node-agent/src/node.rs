//! This machine as the agent finds it: the cgroup root, the BPF file system, and the lock that keeps
//! two agents apart.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, UdpSocket},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{CGROUP2_SUPER_MAGIC, statfs},
};

/// What `statfs` says of a BPF file system; libc has no name for it.
pub(crate) const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Since Linux 5.14; libc has no name for it either.
const SO_NETNS_COOKIE: libc::c_int = 71;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const MOUNTS: &str = "/proc/self/mountinfo";

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("cannot read {MOUNTS}")]
    Mounts(#[source] io::Error),
    #[error(
        "there is no cgroup v2 tree: mount one (`mount -t cgroup2 none /sys/fs/cgroup/unified`) or name it with --cgroup-root"
    )]
    NoCgroups,
    #[error(
        "the cgroup tree at {0} is cut off at a cgroup namespace, so programs on its root would see only some of the node's connects: run in the host's cgroup namespace, or name a root with --cgroup-root"
    )]
    CgroupNamespace(PathBuf),
    #[error("{0} is not in a cgroup v2 tree")]
    NotACgroup(PathBuf),
    #[error(
        "{path} is not on a BPF file system ({found}): `mount -t bpf bpf /sys/fs/bpf`, or name another place with --bpffs"
    )]
    NoBpfFs { path: PathBuf, found: String },
    #[error("another agent holds {0}: one agent per node")]
    Held(PathBuf),
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: io::Error },
}

/// The root of the cgroup v2 tree, given or found.
pub fn cgroup_root(given: Option<&Path>) -> Result<PathBuf, NodeError> {
    let root = match given {
        Some(given) => given.to_path_buf(),
        None => {
            let mounts = fs::read_to_string(MOUNTS).map_err(NodeError::Mounts)?;
            whole(cgroup_mounts(&mounts))?
        }
    };
    match statfs(&root) {
        Ok(found) if found.filesystem_type() == CGROUP2_SUPER_MAGIC => Ok(root),
        _ => Err(NodeError::NotACgroup(root)),
    }
}

/// Makes the folder for the pins and takes the lock on it, which ends with the process.
pub fn hold(bpffs: &Path) -> Result<Flock<File>, NodeError> {
    let lacking = |found: String| NodeError::NoBpfFs {
        path: bpffs.into(),
        found,
    };
    let parent = bpffs
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let found = statfs(parent)
        .map_err(|error| lacking(error.to_string()))?
        .filesystem_type();
    if found.0 as i64 != BPF_FS_MAGIC {
        return Err(lacking(format!(
            "{} is of type {:#x}",
            parent.display(),
            found.0
        )));
    }
    let failed = |source| NodeError::Lock {
        path: bpffs.into(),
        source,
    };
    fs::create_dir_all(bpffs).map_err(failed)?;
    let folder = File::open(bpffs).map_err(failed)?;
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => NodeError::Held(bpffs.into()),
        errno => failed(errno.into()),
    })
}

/// Which start of the machine this is, as the kernel names it.
pub fn boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim_end().to_owned())
}

/// What the kernel calls the network namespace of this process, which is the host's.
pub fn network_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the socket is open, and the kernel writes at most `length` bytes to `cookie`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    match outcome {
        0 => Ok(cookie),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The mount that shows the whole tree. Only the true root has this inode, whatever a cgroup namespace makes of its
/// path: inside one a tree that was cut off looks like a root, and the host's, mounted into a container, like none.
fn whole(mounts: Vec<PathBuf>) -> Result<PathBuf, NodeError> {
    const TRUE_ROOT: u64 = 1;
    let is_true = |path: &&PathBuf| fs::metadata(path).is_ok_and(|data| data.ino() == TRUE_ROOT);
    if let Some(root) = mounts.iter().find(is_true) {
        return Ok(root.clone());
    }
    let first = mounts.into_iter().next();
    Err(first.map_or(NodeError::NoCgroups, NodeError::CgroupNamespace))
}

/// Where cgroup v2 is mounted, by the text of a mountinfo file.
fn cgroup_mounts(mounts: &str) -> Vec<PathBuf> {
    let points = mounts.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        (file_system.split(' ').next() == Some("cgroup2")).then(|| point.into())
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_found_alone_or_beside_version_1() {
        let unified = "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup_mounts(unified), [Path::new("/sys/fs/cgroup")]);
        let hybrid = "30 29 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 29 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 none rw\n";
        assert_eq!(cgroup_mounts(hybrid), [Path::new("/sys/fs/cgroup/unified")]);
        let container = "31 24 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n\
                         32 24 0:27 /../../.. /host/sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(
            cgroup_mounts(container),
            [
                Path::new("/sys/fs/cgroup"),
                Path::new("/host/sys/fs/cgroup")
            ]
        );
    }

    #[test]
    fn a_tree_that_is_only_a_part_is_refused() {
        // Folders too, and no roots.
        let parts = vec![PathBuf::from("/proc/self"), PathBuf::from("/nowhere")];
        assert!(matches!(whole(parts), Err(NodeError::CgroupNamespace(_))));
        assert!(matches!(whole(Vec::new()), Err(NodeError::NoCgroups)));
    }
}
