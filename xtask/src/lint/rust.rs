//! rustfmt, clippy, rustdoc, and that no member escapes the workspace's lints.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{output, succeeds};
use crate::workspace::Workspace;

pub(super) fn format(workspace: &Workspace) -> Result<Vec<String>> {
    let formatted = succeeds(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    Ok(unless(
        formatted,
        "the difference is above; `cargo fmt --all` mends it",
    ))
}

pub(super) fn clippy(workspace: &Workspace) -> Result<Vec<String>> {
    let mut clippy = workspace.cargo();
    clippy.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    Ok(unless(succeeds(&mut clippy)?, "the warnings are above"))
}

pub(super) fn documentation(workspace: &Workspace) -> Result<Vec<String>> {
    let mut doc = workspace.cargo();
    doc.args([
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ])
    .env("RUSTDOCFLAGS", "-D warnings");
    Ok(unless(succeeds(&mut doc)?, "the warnings are above"))
}

/// A member that forgets `[lints] workspace = true` is checked by nothing, and nobody notices.
pub(super) fn inherited_lints(workspace: &Workspace) -> Result<Vec<String>> {
    let mut against = Vec::new();
    for manifest in manifests(workspace)? {
        let text =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {manifest}"))?;
        if !inherits_lints(&text) {
            against.push(format!(
                "{manifest} lacks `[lints]` with `workspace = true`"
            ));
        }
    }
    Ok(against)
}

fn manifests(workspace: &Workspace) -> Result<Vec<String>> {
    let metadata =
        output(
            workspace
                .cargo()
                .args(["metadata", "--no-deps", "--format-version", "1"]),
        )?;
    let metadata: Value =
        serde_json::from_str(&metadata).context("cannot read what cargo metadata prints")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    Ok(packages
        .iter()
        .filter_map(|package| package["manifest_path"].as_str().map(str::to_owned))
        .collect())
}

fn inherits_lints(manifest: &str) -> bool {
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[lints]" && line.split_whitespace().eq(["workspace", "=", "true"]) {
            return true;
        }
    }
    false
}

fn unless(fine: bool, otherwise: &str) -> Vec<String> {
    if fine {
        Vec::new()
    } else {
        vec![otherwise.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lints_of_the_workspace_count_as_inherited() {
        assert!(inherits_lints(
            "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n"
        ));
        assert!(!inherits_lints("[package]\nworkspace = true\n"));
        assert!(!inherits_lints("[lints.clippy]\nworkspace = true\n"));
    }
}
