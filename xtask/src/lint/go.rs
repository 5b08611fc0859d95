//! gofmt and vet for the Go modules of the testbed.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::text::tracked;
use crate::process::output;
use crate::requirements;
use crate::workspace::Workspace;

pub(super) fn modules(workspace: &Workspace) -> Result<Vec<String>> {
    let sources = tracked(workspace, &["*.go"])?;
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    requirements::go()?;
    let mut against: Vec<String> = output(
        Command::new("gofmt")
            .arg("-l")
            .args(&sources)
            .current_dir(&workspace.root),
    )?
    .lines()
    .map(|file| format!("{file} is not formatted: `gofmt -w {file}` mends it"))
    .collect();
    for manifest in tracked(workspace, &["*go.mod"])? {
        let folder = Path::new(&manifest).parent().unwrap_or(Path::new(""));
        let has_sources = sources
            .iter()
            .any(|source| Path::new(source).parent() == Some(folder));
        if has_sources {
            against.extend(
                vet(&workspace.root.join(folder))
                    .err()
                    .map(|error| error.to_string()),
            );
        }
    }
    Ok(against)
}

/// With the flags of the set-up's build, so that vet finds every dependency compiled.
fn vet(folder: &Path) -> Result<String> {
    output(
        Command::new("go")
            .args(["vet", "-trimpath", "."])
            .current_dir(folder)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off"),
    )
}
