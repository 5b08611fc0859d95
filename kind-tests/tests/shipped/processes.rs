//! Processes inside pods, as the machine sees them: what happens to these no pod can prevent.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;
use sluice_testbed::cgroup;
use sluice_testbed::cluster::Node;

/// The process of this name in a pod of a node; an empty UID stands for any pod. The kernel keeps fifteen letters of a
/// name.
pub(crate) fn find(node: &Node, name: &str, uid: &str) -> Result<Pid> {
    let is_it = |pid: &i32| {
        let about = Path::new("/proc").join(pid.to_string());
        let read = |file| fs::read_to_string(about.join(file)).unwrap_or_default();
        read("comm").trim_end() == name && read("cgroup").contains(&format!("/pod{uid}"))
    };
    let processes = cgroup::processes(node.cgroup().path())?;
    let found = processes.into_iter().find(is_it);
    let found = found.with_context(|| format!("{} has no {name}", node.name()))?;
    Ok(Pid::from_raw(found))
}
