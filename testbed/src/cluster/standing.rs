//! Clusters that stand for people to play with, as other programs find them: by a record in the folder of their run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Cluster;
use crate::run::{RUNS, RunId, sweep};
use crate::tier::eventually;

const RECORD: &str = "cluster.json";
/// How long a cluster may take to be removed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster that another process keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Standing {
    #[serde(skip)]
    run: Option<RunId>,
    /// The process that keeps it, and removes it when it is asked to end.
    keeper: i32,
    pub kubeconfig: PathBuf,
    /// The folder of kubectl and its fellows.
    pub tools: PathBuf,
}

impl Standing {
    /// Makes known that this process keeps the cluster.
    pub fn announce(cluster: &Cluster) -> Result<()> {
        let standing = Self {
            run: Some(cluster.run().id()),
            keeper: std::process::id().cast_signed(),
            kubeconfig: cluster.kubeconfig().to_owned(),
            tools: cluster.tools().folder().to_owned(),
        };
        // By a rename, so that nobody reads half of it.
        let record = cluster.run().folder().join(RECORD);
        let fresh = record.with_extension("new");
        fs::write(&fresh, serde_json::to_string(&standing)?)?;
        fs::rename(&fresh, &record).with_context(|| format!("writing {}", record.display()))
    }

    /// All clusters whose keeper lives.
    pub fn all() -> Vec<Self> {
        let runs = fs::read_dir(RUNS).into_iter().flatten().flatten();
        let mut all: Vec<_> = runs
            .filter_map(|run| Self::of(&run.path()))
            .filter(Self::is_kept)
            .collect();
        all.sort_by_key(|standing| standing.run);
        all
    }

    /// The cluster of this run, or the only one.
    pub fn find(run: Option<RunId>) -> Result<Self> {
        let mut all = Self::all();
        if let Some(run) = run {
            all.retain(|standing| standing.run == Some(run));
        }
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            (None, _) => bail!("there is no such cluster: raise one by make cluster"),
            (Some(last), false) => {
                all.push(last);
                let ids: Vec<_> = all
                    .iter()
                    .filter_map(|one| one.run)
                    .map(|id| id.to_string())
                    .collect();
                bail!(
                    "there are several clusters, choose one by --run: {}",
                    ids.join(", ")
                )
            }
        }
    }

    /// The id of its run.
    pub fn run(&self) -> Option<RunId> {
        self.run
    }

    /// Has the cluster removed, and waits until it is.
    pub fn remove(&self) -> Result<()> {
        match kill(Pid::from_raw(self.keeper), Signal::SIGTERM) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).context("telling the cluster's keeper to end"),
        }
        eventually(PATIENCE, "the cluster is removed", || {
            ensure!(!self.is_kept(), "process {} still keeps it", self.keeper);
            Ok(())
        })?;
        // Nothing, if the keeper has come to its end in good order.
        sweep().map(drop)
    }

    fn of(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join(RECORD)).ok()?;
        let standing: Self = serde_json::from_str(&text).ok()?;
        let run = folder.file_name()?.to_str()?.parse().ok();
        Some(Self { run, ..standing })
    }

    fn is_kept(&self) -> bool {
        kill(Pid::from_raw(self.keeper), None).is_ok()
    }
}
