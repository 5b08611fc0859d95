//! The cgroup that a kubelet takes for its root, in every hierarchy of the machine.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cgroup::Cgroup;
use crate::run::Run;

/// The controllers without which a kubelet refuses a root on version 2.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "hugetlb", "memory", "pids"];

/// Makes the node's cgroups; returns the one of version 2.
pub(super) fn prepare(run: &Run, name: &str) -> Result<Cgroup> {
    delegate(&run.host().cgroup2)?;
    let cgroups = run.cgroups_named(name)?;
    for cgroup in &cgroups {
        inherit_cpus(cgroup)?;
    }
    cgroups
        .into_iter()
        .next()
        .context("a machine has at least one cgroup hierarchy")
}

/// Lets the cgroups below the root of version 2 have the controllers that it has; on a hybrid layout it has none.
fn delegate(root: &Path) -> Result<()> {
    let available = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    for controller in available
        .split_whitespace()
        .filter(|controller| CONTROLLERS.contains(controller))
    {
        fs::write(
            root.join("cgroup.subtree_control"),
            format!("+{controller}"),
        )
        .with_context(|| {
            format!(
                "delegating the controller {controller} of {}",
                root.display()
            )
        })?;
    }
    Ok(())
}

/// On version 1 a new cpuset is empty, and no process may enter it.
fn inherit_cpus(cgroup: &Cgroup) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = cgroup.path().join(file);
        let Some(parent) = cgroup.path().parent().map(|parent| parent.join(file)) else {
            continue;
        };
        // On version 2 the root has no such file, and an empty one means all.
        if let Ok(value) = fs::read_to_string(&parent) {
            fs::write(&own, value).with_context(|| format!("setting {}", own.display()))?;
        }
    }
    Ok(())
}
