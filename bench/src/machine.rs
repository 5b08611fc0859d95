//! What numbers were measured on and with, to be named beside them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::Serialize;
use sluice_testbed::cluster::Tools;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) sluice: String,
    pub(crate) kube_proxy: String,
    pub(crate) nft: String,
    pub(crate) iptables: String,
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// Fewer sizes and rounds than what is kept in `docs/benchmarks`.
    pub(crate) quick: bool,
}

impl Machine {
    pub(crate) fn look(quick: bool) -> Result<Self> {
        let tools = Tools::find()?;
        let uname = nix::sys::utsname::uname()?;
        Ok(Self {
            date: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            sluice: commit(),
            kube_proxy: first_line(Command::new(tools.path("kube-proxy")).arg("--version"))?,
            nft: first_line(Command::new("nft").arg("--version"))?,
            iptables: first_line(Command::new("iptables").arg("--version"))?,
            kernel: uname.release().to_string_lossy().into_owned(),
            processor: processor()?,
            cores: thread::available_parallelism()?.get(),
            quick,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            sluice,
            kube_proxy,
            nft,
            iptables,
            kernel,
            processor,
            cores,
            quick,
        } = self;
        write!(
            f,
            "{date}; Sluice {sluice}; kube-proxy: {kube_proxy}, {nft}, {iptables}; Linux {kernel}, {cores} cores of {processor}"
        )?;
        if *quick {
            f.write_str("; quick form")?;
        }
        Ok(())
    }
}

/// The commit that this was built from, and whether the tree had changes beside it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        first_line(Command::new("git").arg("-C").arg(folder).args(args)).ok()
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "of an unknown commit".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|changed| !changed.is_empty()) {
        format!("{commit} with changes")
    } else {
        commit
    }
}

fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let name = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    Ok(name.unwrap_or_else(|| "an unnamed processor".to_owned()))
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
