//! `sluice-node-agent mount`: makes sure that a node has a BPF file system, where pins survive the agent.
//!
//! Most nodes have one, made at boot. In a pod this runs before the agent does, since only a privileged container may
//! mount for its node, and the agent need not be one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::statfs,
};

use crate::node::BPF_FS_MAGIC;

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("cannot make {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot mount a BPF file system at {path}")]
    Mount { path: PathBuf, source: nix::Error },
}

/// The verb.
pub(crate) fn command(at: &Path) -> anyhow::Result<ExitCode> {
    if ensure(at)? {
        println!("mounted a BPF file system at {}", at.display());
    } else {
        println!("there is a BPF file system at {}", at.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Mounts a BPF file system unless there is one; says whether it did.
#[allow(
    clippy::unnecessary_cast,
    reason = "the number's type depends on the C library"
)]
pub fn ensure(at: &Path) -> Result<bool, MountError> {
    let found = statfs(at).map(|found| found.filesystem_type());
    if found.is_ok_and(|found| found.0 as i64 == BPF_FS_MAGIC) {
        return Ok(false);
    }
    fs::create_dir_all(at).map_err(|source| MountError::Folder {
        path: at.into(),
        source,
    })?;
    let data = Some("mode=0700");
    mount(Some("bpf"), at, Some("bpf"), MsFlags::empty(), data).map_err(|source| {
        MountError::Mount {
            path: at.into(),
            source,
        }
    })?;
    Ok(true)
}
