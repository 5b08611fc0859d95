//! bpf-linker, which turns rustc's LLVM bitcode into the eBPF object.
//!
//! Its LLVM must not be older than that of the rustc that writes the bitcode, which is why the
//! version on PATH is used only when it says that its LLVM is recent enough.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Build, Cached, Step, Tool};
use crate::cache::{Cache, Site};
use crate::key::Key;
use crate::process::{Logged, on_path, output};
use crate::progress::Progress;
use crate::workspace::Workspace;

const NAME: &str = "bpf-linker";
const VERSION: &str = "0.13.0";
/// The LLVM of Debian's rustc-web 1.96 and of rustup's rustc 1.95.
const LLVM: u32 = 22;
/// Crates in the linker's lock file for these features; only the progress depends on it.
const CRATES: usize = 66;

pub(super) enum BpfLinker {
    OnPath(PathBuf),
    Built(Cached<Source>),
}

pub(super) struct Source {
    workspace: Workspace,
}

pub(super) fn step(workspace: &Workspace) -> Result<BpfLinker> {
    if let Some(path) = on_path(NAME).filter(|path| fits(path)) {
        return Ok(BpfLinker::OnPath(path));
    }
    let key = Key::new(NAME).text(VERSION).text(&format!("llvm {LLVM}"));
    let build = Source {
        workspace: workspace.clone(),
    };
    Ok(BpfLinker::Built(Cached {
        cache: Cache::new(&workspace.cache),
        key,
        build,
    }))
}

impl Step for BpfLinker {
    fn title(&self) -> String {
        format!("{NAME} {VERSION}")
    }

    fn is_done(&self) -> Result<bool> {
        match self {
            BpfLinker::OnPath(_) => Ok(true),
            BpfLinker::Built(cached) => cached.is_done(),
        }
    }

    fn carry_out(&self, progress: &Progress) -> Result<()> {
        match self {
            BpfLinker::OnPath(_) => Ok(()),
            BpfLinker::Built(cached) => cached.carry_out(progress),
        }
    }

    fn tools(&self) -> Result<Vec<Tool>> {
        match self {
            BpfLinker::OnPath(path) => Ok(vec![Tool::new(NAME, path.clone())]),
            BpfLinker::Built(cached) => cached.tools(),
        }
    }
}

impl Build for Source {
    fn title(&self) -> String {
        format!("{NAME} {VERSION}")
    }

    fn build(&self, site: &Site, log: &Path, progress: &Progress) -> Result<()> {
        let llvm = format!("/usr/lib/llvm-{LLVM}");
        let mut cargo = self.workspace.cargo();
        cargo
            .args([
                "install",
                NAME,
                "--version",
                VERSION,
                "--locked",
                "--no-default-features",
            ])
            .args(["--features", &format!("llvm-{LLVM}")])
            .arg("--root")
            .arg(&site.out)
            // The workspace has settings for cargo of its own; the linker is built without them.
            .current_dir(&site.work)
            .env("CARGO_TARGET_DIR", &site.work)
            .env("LLVM_PREFIX", &llvm)
            .env(format!("LLVM_SYS_{LLVM}1_PREFIX"), &llvm)
            .env("RUSTFLAGS", format!("-L{llvm}/lib"));
        progress.out_of(CRATES);
        let log =
            Logged::new(log, progress).counting(|line| line.trim_start().starts_with("Compiling "));
        log.run(&mut cargo)?;
        Ok(())
    }

    fn provides(&self) -> Vec<(String, PathBuf)> {
        vec![(NAME.to_owned(), Path::new("bin").join(NAME))]
    }
}

fn fits(path: &Path) -> bool {
    // `--version` is the linker's own; its LLVM is asked for through the arguments for LLVM.
    let mut linker = Command::new(path);
    linker.args(["--llvm-args=--version", "-o", "/dev/null", "/dev/null"]);
    output(&mut linker).is_ok_and(|text| llvm_of(&text).is_some_and(|llvm| llvm >= LLVM))
}

/// The major version in LLVM's own version text.
fn llvm_of(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("LLVM version ")?;
    version.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_of_a_linker_is_read_from_what_llvm_prints() {
        assert_eq!(
            llvm_of("Debian LLVM version 22.1.8\n  Optimized build.\n"),
            Some(22)
        );
        assert_eq!(
            llvm_of("LLVM (http://llvm.org/):\n  LLVM version 21.0.0git\n"),
            Some(21)
        );
        assert_eq!(llvm_of("bpf-linker 0.13.0"), None);
    }
}
