//! Rules on the graph of dependencies.
//!
//! `cargo tree` resolves features, so unlike the lock file it does not name crates that are merely
//! possible.

use anyhow::Result;

use crate::process::output;
use crate::workspace::Workspace;

const OTHER_TLS: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
];

const CLIENTS: &[&str] = &["kube-client", "kube-runtime", "hyper", "reqwest", "tokio"];

/// The crates that have to stay pure and what therefore must not be below them.
const PURE: [(&str, &[&[&str]]); 3] = [
    ("sluice-node-abi", &[CLIENTS, KERNEL, CHANCE]),
    ("sluice-crds", &[CLIENTS, KERNEL]),
    ("sluice-model", &[CLIENTS, KERNEL, CHANCE]),
];

const KERNEL: &[&str] = &["aya", "nix", "rustix"];
const CHANCE: &[&str] = &["rand", "fastrand"];

pub(super) fn locked(workspace: &Workspace) -> Result<Vec<String>> {
    let metadata =
        output(
            workspace
                .cargo()
                .args(["metadata", "--locked", "--format-version", "1"]),
        );
    Ok(metadata
        .err()
        .map(|error| format!("{error}; any cargo build mends it, then commit Cargo.lock"))
        .into_iter()
        .collect())
}

pub(super) fn one_tls_provider(workspace: &Workspace) -> Result<Vec<String>> {
    let graph = tree(workspace, &["--workspace", "--edges", "normal,build,dev"])?;
    let named = OTHER_TLS.iter().filter(|name| names(&graph, name));
    Ok(named
        .map(|name| format!("{name} is in the graph: `cargo tree --target all -i {name}` says why"))
        .collect())
}

pub(super) fn pure_graph(workspace: &Workspace) -> Result<Vec<String>> {
    let members = output(workspace.cargo().args([
        "tree",
        "--workspace",
        "--depth",
        "0",
        "--prefix",
        "none",
        "-f",
        "{p}",
    ]))?;
    let mut against = Vec::new();
    for (package, forbidden) in PURE {
        if !names(&members, package) {
            continue;
        }
        let graph = tree(workspace, &["--package", package, "--edges", "normal"])?;
        let named = forbidden
            .iter()
            .copied()
            .flatten()
            .filter(|name| names(&graph, name));
        against.extend(named.map(|name| {
            format!("{package} depends on {name}: `cargo tree -p {package} -i {name}` says how")
        }));
    }
    Ok(against)
}

fn tree(workspace: &Workspace, which: &[&str]) -> Result<String> {
    output(
        workspace
            .cargo()
            .args([
                "tree", "--target", "all", "--prefix", "none", "--format", "{p}",
            ])
            .args(which),
    )
}

/// Whether a line of the tree is about the package `name`.
fn names(tree: &str, name: &str) -> bool {
    tree.lines()
        .any(|line| line.split(' ').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        let tree = "sluice-model v0.1.0 (/x)\nrand_core v0.9.0\nserde v1.0.0 (*)";
        assert!(names(tree, "serde"));
        assert!(!names(tree, "rand"));
    }
}
