//! Where things are: the workspace, its target folder, the tools linked there, and the cache
//! outside the tree.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target folder; `CARGO_TARGET_DIR` moves it.
    pub(crate) target: PathBuf,
    /// Downloads and builds of tools, kept across checkouts; `SLUICE_CACHE` moves it.
    pub(crate) cache: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Workspace> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context(
            "the task runner was built outside its workspace: build it anew with `cargo xtask`",
        )?;
        Ok(Workspace {
            root: root.to_owned(),
            target: root
                .join(variable("CARGO_TARGET_DIR").unwrap_or_else(|| PathBuf::from("target"))),
            cache: root.join(cache_folder()?),
        })
    }

    /// The links to every tool that the set-up provides.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Cargo for this workspace. The variables that `cargo run` gave to this process describe the
    /// task runner's own package; a nested cargo that saw them would build other crates anew.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os() {
            let of_this_package = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if of_this_package {
                cargo.env_remove(name);
            }
        }
        cargo
            .env_remove("CARGO")
            .env_remove("LD_LIBRARY_PATH")
            .current_dir(&self.root);
        cargo
    }
}

fn cache_folder() -> Result<PathBuf> {
    variable("SLUICE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|caches| caches.join("sluice")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/sluice")))
        .context("there is no place for the cache of tools: set SLUICE_CACHE to a folder, or HOME")
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
