//! The kinds of Sluice in a cluster that has nothing else of it.

use anyhow::Result;
use sluice_testbed::cluster::Access;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/crd");

/// Makes all of them, and waits until objects can be made: agents are ready only when every kind has been listed.
pub fn install(access: &Access) -> Result<()> {
    access.kubectl(["apply", "--server-side", "--kustomize", FOLDER])?;
    let wait = ["wait", "crds", "--all", "--for=condition=Established"];
    access
        .kubectl([&wait[..], &["--timeout=60s"]].concat())
        .map(drop)
}
