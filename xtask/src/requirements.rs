//! What only the user can provide: root where something is installed, room on the disk, Rust and Go
//! of a fitting version.
//!
//! Each one that is missing gives one sentence that says what to do.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use nix::unistd::Uid;

use crate::process;

/// Room for the build results of this workspace, of Kubernetes, and for Go's own build cache.
const DISK_GIB: u64 = 15;

const GO: (u32, u32) = (1, 26);

pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Checks the room below `folder`, or below the nearest folder above that exists.
pub(crate) fn disk(folder: &Path) -> Result<()> {
    let existing = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let disk = statvfs(existing)
        .with_context(|| format!("cannot ask for the free space of {}", existing.display()))?;
    let free = disk.blocks_available() * disk.fragment_size() / (1 << 30);
    if free < DISK_GIB {
        bail!(
            "{} has {free} GiB free and the set-up needs {DISK_GIB} GiB: free some, or move the builds by SLUICE_CACHE and CARGO_TARGET_DIR",
            existing.display()
        );
    }
    Ok(())
}

/// The version of Go, when it is recent enough.
pub(crate) fn go() -> Result<String> {
    let Some(go) = process::on_path("go") else {
        bail!(
            "go is not on PATH: install Go {}.{} or later from https://go.dev/dl/",
            GO.0,
            GO.1
        );
    };
    let text = process::output(Command::new(go).args(["env", "GOVERSION"]))?;
    match version_of_go(&text) {
        Some(version) if version >= GO => Ok(text),
        _ => bail!(
            "{text} is too old: install Go {}.{} or later from https://go.dev/dl/",
            GO.0,
            GO.1
        ),
    }
}

/// `go1.26.3` is (1, 26).
fn version_of_go(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.strip_prefix("go")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_read_with_and_without_a_patch_level() {
        assert_eq!(version_of_go("go1.26.3"), Some((1, 26)));
        assert_eq!(version_of_go("go1.27rc1"), Some((1, 27)));
        assert_eq!(version_of_go("devel"), None);
    }
}
