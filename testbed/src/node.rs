//! A light node: a network namespace that routes for its pods and joins the fabric, a subtree of cgroup v2, and a
//! folder of its own in the BPF file system.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context as _, Result};

use crate::cgroup::Cgroup;
use crate::fabric::{Fabric, Member};
use crate::netns::Netns;
use crate::pod;
use crate::process::Command;
use crate::run::Run;

/// The last byte of a pod's address; the first is the node's own end.
const FIRST_POD: u8 = 2;
const LAST_POD: u8 = 254;

/// A light node; it stays as long as a handle of it or a pod on it.
#[derive(Debug, Clone)]
pub struct Node {
    owned: Arc<Owned>,
}

#[derive(Debug)]
struct Owned {
    name: String,
    member: Member,
    netns: Netns,
    cgroup: Cgroup,
    bpffs: PathBuf,
    next_pod: AtomicU8,
    run: Run,
}

impl Node {
    pub(crate) fn create(fabric: &Fabric, name: &str) -> Result<Self> {
        let run = fabric.run();
        let netns = run.netns(name)?;
        let member = fabric.join(&netns)?;
        let cgroup = run.cgroup_named(name)?;
        let bpffs = run.bpffs().join(name);
        std::fs::create_dir(&bpffs).with_context(|| format!("making {}", bpffs.display()))?;
        let next_pod = AtomicU8::new(FIRST_POD);
        let owned = Owned {
            name: name.to_owned(),
            member,
            netns,
            cgroup,
            bpffs,
            next_pod,
            run: run.clone(),
        };
        Ok(Self {
            owned: Arc::new(owned),
        })
    }

    pub fn name(&self) -> &str {
        &self.owned.name
    }

    /// The node's addresses, and those of its pods.
    pub fn member(&self) -> Member {
        self.owned.member
    }

    pub fn netns(&self) -> &Netns {
        &self.owned.netns
    }

    /// The root of the node's cgroups, as an agent's `--cgroup-root`.
    pub fn cgroup(&self) -> &Cgroup {
        &self.owned.cgroup
    }

    /// The node's folder for BPF pins, as an agent's `--bpffs`.
    pub fn bpffs(&self) -> &Path {
        &self.owned.bpffs
    }

    pub fn run(&self) -> &Run {
        &self.owned.run
    }

    /// A pod, to be described and started.
    pub fn pod(&self, name: impl Into<String>) -> pod::Builder {
        pod::Builder::new(self, name.into())
    }

    /// A process of the node itself, such as an agent: in its namespace and in `system.slice` of its cgroups.
    pub fn command(&self, name: &str, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        self.complete(name, self.run().command(&self.log_name(name), program))
    }

    /// A process of the node that is this very program again.
    pub fn command_again(&self, name: &str) -> Result<Command> {
        self.complete(name, self.run().command_again(&self.log_name(name)))
    }

    pub(crate) fn log_name(&self, name: &str) -> String {
        format!("{}-{name}", self.name())
    }

    pub(crate) fn next_pod(&self) -> Result<u8> {
        self.owned
            .next_pod
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (next <= LAST_POD).then(|| next + 1)
            })
            .ok()
            .with_context(|| format!("node {} has no address left for a pod", self.name()))
    }

    fn complete(&self, name: &str, command: Command) -> Result<Command> {
        let cgroup = self.cgroup().child(Path::new("system.slice").join(name))?;
        command.cgroup(&cgroup).netns(self.netns())
    }
}
