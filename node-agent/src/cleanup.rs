//! `sluice-node-agent cleanup`: takes everything that agents leave in the kernel off this node.
//!
//! The programs are detached before anything that they read is removed, those that translate first,
//! so that no connect meets a half. Connections that are established go on: nothing of ours touches their
//! packets. What is not ours is left where it is, and named.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;
use sluice_runtime::shutdown::Shutdown;

use crate::{
    args::{Cleanup, Output},
    bpf,
    inputs::files,
    node::{self, NodeError},
    program::{Hook, Pins},
};

#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    #[error("an agent is running with {0}: end it first, or it puts everything back")]
    AgentRuns(PathBuf),
    #[error(transparent)]
    Node(NodeError),
    #[error("cannot list {path}")]
    List { path: PathBuf, source: io::Error },
    #[error("cannot detach {path}")]
    Detach { path: PathBuf, source: io::Error },
    #[error("cannot remove {path}")]
    Remove { path: PathBuf, source: io::Error },
}

/// What was there and is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Programs, by name, in the order in which they were detached.
    pub detached: Vec<String>,
    /// Folders, with all that was in them.
    pub removed: Vec<PathBuf>,
    /// What lies in our folders and is none of ours.
    pub left: Vec<PathBuf>,
}

/// The verb.
pub(crate) fn command(options: &Cleanup) -> anyhow::Result<ExitCode> {
    let mut cleaned = clean_kernel(&options.bpffs)?;
    if let Some(state) = &options.state {
        clean_state(state, &mut cleaned)?;
    }
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&cleaned)?),
        Output::Table => print!("{cleaned}"),
    }
    if options.stay {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            Shutdown::on_signal()?.asked().await;
            anyhow::Ok(())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Detaches the programs whose links are pinned below `bpffs`, then removes all pins of every version.
pub fn clean_kernel(bpffs: &Path) -> Result<Cleaned, CleanupError> {
    let mut cleaned = Cleaned::default();
    if !bpffs.exists() {
        return Ok(cleaned);
    }
    let _lock = node::hold(bpffs).map_err(|error| match error {
        NodeError::Held(path) => CleanupError::AgentRuns(path),
        error => CleanupError::Node(error),
    })?;
    let pins = Pins::new(bpffs);
    let mut links = entries(&pins.links())?;
    // Those of another version come last, in any order.
    let place = |link: &PathBuf| {
        let hooks = Hook::ALL.iter().rev();
        let named = |hook: &Hook| link.file_name() == Some(OsStr::new(hook.program()));
        hooks.clone().position(named).unwrap_or(hooks.len())
    };
    links.sort_by_key(place);
    for path in links {
        let detached = bpf::detach_pinned(&path);
        detached.map_err(|source| CleanupError::Detach {
            path: path.clone(),
            source,
        })?;
        cleaned.detached.extend(name(&path));
    }
    for folder in entries(bpffs)? {
        if pins.is_ours(&folder) {
            empty(&folder)?;
            remove(fs::remove_dir(&folder), &folder)?;
            cleaned.removed.push(folder);
        } else {
            cleaned.left.push(folder);
        }
    }
    if cleaned.left.is_empty() {
        remove(fs::remove_dir(bpffs), bpffs)?;
        cleaned.removed.push(bpffs.into());
    }
    Ok(cleaned)
}

/// Removes what an agent on manifests keeps over restarts.
fn clean_state(state: &Path, cleaned: &mut Cleaned) -> Result<(), CleanupError> {
    let copies = files::kept_in(state);
    if copies.exists() {
        empty(&copies)?;
        remove(fs::remove_dir(&copies), &copies)?;
        cleaned.removed.push(copies);
    }
    let others = entries(state)?;
    if others.is_empty() && state.exists() {
        remove(fs::remove_dir(state), state)?;
        cleaned.removed.push(state.into());
    }
    cleaned.left.extend(others);
    Ok(())
}

fn empty(folder: &Path) -> Result<(), CleanupError> {
    for path in entries(folder)? {
        remove(fs::remove_file(&path), &path)?;
    }
    Ok(())
}

/// What is in a folder, in order; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, CleanupError> {
    let failed = |source| CleanupError::List {
        path: folder.into(),
        source,
    };
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let paths = listing.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.sort_unstable();
    Ok(paths)
}

fn remove(outcome: io::Result<()>, path: &Path) -> Result<(), CleanupError> {
    outcome.map_err(|source| CleanupError::Remove {
        path: path.into(),
        source,
    })
}

fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

impl std::fmt::Display for Cleaned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.detached.is_empty() && self.removed.is_empty() {
            writeln!(f, "nothing to remove")?;
        }
        for program in &self.detached {
            writeln!(f, "detached {program}")?;
        }
        for path in &self.removed {
            writeln!(f, "removed {}", path.display())?;
        }
        for path in &self.left {
            writeln!(f, "left alone {}", path.display())?;
        }
        Ok(())
    }
}
