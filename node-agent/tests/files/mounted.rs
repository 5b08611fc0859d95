//! A node without a BPF file system.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::{Result, ensure};
use nix::sys::statfs::statfs;
use sluice_testbed::{Run, process::Process};

use crate::bed::PATIENCE;

const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

pub(crate) fn a_node_without_a_bpf_file_system_gets_one() -> Result<()> {
    let run = Run::start()?;
    let at = run.folder().join("bpf");
    let mount = |name: &str| -> Result<Process> {
        let command = run.command(name, env!("CARGO_BIN_EXE_sluice-node-agent"));
        let mut process = command.args(["mount", "--bpffs"]).arg(&at).spawn()?;
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "{}", process.output()?);
        Ok(process)
    };
    mount("first")?;
    let found = statfs(&at)?.filesystem_type();
    ensure!(found.0 as i64 == BPF_FS_MAGIC, "{found:?}");
    let mounted = fs::metadata(&at)?;

    let again = mount("again")?.output()?;
    ensure!(again.starts_with("there is"), "{again}");
    let still = fs::metadata(&at)?;
    ensure!(still.dev() == mounted.dev(), "it was mounted over");
    Ok(())
}
