//! How the kinds are found and shown by kubectl.

use anyhow::{Result, ensure};

use crate::bed::{bed, spec, split};

pub(crate) fn splits_are_found_and_shown_by_their_service() -> Result<()> {
    let bed = bed()?;
    let namespace = "shown";
    bed.namespace(namespace)?;
    for service in ["checkout", "search"] {
        bed.create(&split(namespace, service, &spec(service)), &[])?;
    }
    let cluster = &bed.cluster;
    let table = cluster.kubectl([
        "get",
        "split",
        "--namespace",
        namespace,
        "--field-selector",
        "spec.service=search",
    ])?;
    let lines: Vec<_> = table.lines().collect();
    ensure!(lines.len() == 2, "{table}");
    let titles: Vec<_> = lines[0].split_whitespace().collect();
    let known = ["NAME", "SERVICE", "SHARES", "ACCEPTED", "PROGRAMMED", "AGE"];
    ensure!(titles == known, "{table}");
    ensure!(lines[1].starts_with("search"), "{table}");
    let explained = cluster.kubectl(["explain", "trafficsplit.spec.versions.pods.matchLabels"])?;
    ensure!(explained.contains("Labels that a pod needs"), "{explained}");
    Ok(())
}
