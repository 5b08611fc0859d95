//! The mounts of a real node, made inside a mount namespace of its own and kept by a process that does nothing else.
//!
//! The node's programs find and write their ordinary paths. What they write under `/etc`, `/opt` and `/var` stays in the
//! node (an overlay on the host's files), `/run` is its own, `/sys/fs/bpf` is its own folder of the host's, and the few
//! settings of the kernel that a kubelet changes are files of its own, so that the host's stay as they are.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::exit;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use crate::mount as mounts;
use crate::run::RUNS;

pub(crate) const ROLE: &str = "sluice-testbed-node-root";
pub(super) const READY: &str = "ready\n";

const OVERLAID: [&str; 3] = ["etc", "opt", "var"];
/// What must not lie on an overlay, since it holds overlays and mounts itself.
const PLAIN: [&str; 2] = ["var/lib/containerd", "var/lib/kubelet"];
const TUNED: [&str; 6] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Where the parts of a node's root are.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Root {
    /// A file system for all that the node writes.
    pub(super) disk: PathBuf,
    /// The node's folder in the BPF file system, and where that is mounted.
    pub(super) bpffs: PathBuf,
    pub(super) host_bpffs: PathBuf,
    /// The run's folder, which keeps its path.
    pub(super) run: PathBuf,
}

/// What is written there before the node starts is found below `/etc` in it.
pub(super) fn etc(disk: &Path) -> PathBuf {
    upper(disk, "etc")
}

/// Makes the mounts, says so, and stays until its input ends.
pub(crate) fn become_root(description: &OsStr) -> ! {
    let result = description
        .to_str()
        .context("the description of the node is no text")
        .and_then(|text| Ok(serde_json::from_str::<Root>(text)?))
        .and_then(|root| root.hold());
    if let Err(error) = &result {
        eprintln!("{error:#}");
    }
    exit(i32::from(result.is_err()))
}

impl Root {
    fn hold(&self) -> Result<()> {
        self.let_go_of_others()?;
        for folder in OVERLAID {
            self.overlay(folder)?;
        }
        self.own_run()?;
        for folder in PLAIN {
            let source = self.disk.join(folder.replace('/', "-"));
            let target = Path::new("/").join(folder);
            fs::create_dir_all(&source)?;
            fs::create_dir_all(&target)?;
            bind(&source, &target)?;
        }
        bind(&self.bpffs, &self.host_bpffs)?;
        for name in TUNED {
            self.tune_apart(name)?;
        }
        let mut stdout = io::stdout();
        stdout.write_all(READY.as_bytes())?;
        stdout.flush()?;
        io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// The copied table has the mounts of other runs, which could not end before this node does. What
    /// the run's own folder lies on stays.
    fn let_go_of_others(&self) -> Result<()> {
        for point in mounts::below(Path::new(RUNS))? {
            if !point.starts_with(&self.run) && !self.run.starts_with(&point) {
                mounts::detach(&point)?;
            }
        }
        Ok(())
    }

    fn overlay(&self, folder: &str) -> Result<()> {
        let target = Path::new("/").join(folder);
        if !target.is_dir() {
            return Ok(());
        }
        let upper = upper(&self.disk, folder);
        let work = self.disk.join(folder).join("work");
        for folder in [&upper, &work] {
            fs::create_dir_all(folder)?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            target.display(),
            upper.display(),
            work.display()
        );
        mount(
            Some("overlay"),
            &target,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .with_context(|| format!("laying a file system over {}", target.display()))
    }

    /// Replaces `/run`, but for the run's folder, which holds settings and logs.
    fn own_run(&self) -> Result<()> {
        let own = self.disk.join("run");
        let kept = own.join(self.run.strip_prefix("/run")?);
        fs::create_dir_all(&kept)?;
        for folder in ["lock", "netns"] {
            fs::create_dir_all(own.join(folder))?;
        }
        fs::set_permissions(&own, Permissions::from_mode(0o755))?;
        bind(&self.run, &kept)?;
        mount(
            Some(&own),
            "/run",
            None::<&str>,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None::<&str>,
        )
        .context("replacing /run")
    }

    /// Puts a file with the same value in the place of a setting of the kernel.
    fn tune_apart(&self, name: &str) -> Result<()> {
        let setting = Path::new("/proc/sys").join(name);
        let Ok(value) = fs::read(&setting) else {
            return Ok(());
        };
        let own = self.disk.join("sys").join(name);
        fs::create_dir_all(own.parent().unwrap_or(&self.disk))?;
        fs::write(&own, value)?;
        bind(&own, &setting)
    }
}

fn upper(disk: &Path, folder: &str) -> PathBuf {
    disk.join(folder).join("upper")
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .with_context(|| format!("mounting {} at {}", source.display(), target.display()))
}
