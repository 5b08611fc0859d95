//! Manifests from Git are applied again and again: what is there already is left as it is.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_testbed::cluster::{Access, shipped};
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, alone};

/// Each way that kubectl has.
const WAYS: [&[&str]; 2] = [&["--server-side", "--force-conflicts"], &[]];

/// kubectl replaces the selector of these as a whole and says "configured", though nothing becomes another.
const ALWAYS_TOLD: &str = "poddisruptionbudget.policy/";

pub(crate) fn what_is_applied_twice_does_not_change() -> Result<()> {
    let bed = alone()?;
    let cluster = &bed.own()?.cluster;
    let overlay = cluster.overlay(shipped::VERSION)?;
    let overlay = overlay.to_str().context("the folder is no text")?;
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/samples");
    for way in WAYS {
        for folder in [overlay, samples] {
            let apply = || bed.kubectl([&["apply", "--kustomize", folder], way].concat());
            apply()?;
            cluster.installed()?;
            // What is new is still being worked on, by others than kubectl.
            let objects = eventually(PATIENCE, "it changes nothing more", || {
                let before = versions(&bed, folder)?;
                let said = apply()?;
                let after = versions(&bed, folder)?;
                let changed: Vec<_> = before
                    .iter()
                    .filter(|(object, version)| after.get(*object) != Some(*version))
                    .collect();
                ensure!(changed.is_empty(), "{way:?} changed {changed:?}");
                let lines = said.lines().filter(|line| !line.starts_with(ALWAYS_TOLD));
                let told: Vec<_> = lines.filter(|line| !line.ends_with(" unchanged")).collect();
                ensure!(!way.is_empty() || told.is_empty(), "{told:?}");
                Ok(before.len())
            })?;
            println!("{objects} objects of {folder}, applied again by {way:?}: none changed");
        }
    }
    Ok(())
}

/// Each object of a kustomization, and what changes with it. The status of a workload moves by itself.
fn versions(access: &Access, folder: &str) -> Result<BTreeMap<String, String>> {
    let list = access.client().get(["--kustomize", folder])?;
    let items = list["items"].as_array().context("a list has items")?;
    items
        .iter()
        .map(|object| {
            let metadata = &object["metadata"];
            let kind = object["kind"].as_str().context("an object has a kind")?;
            let name = metadata["name"].as_str().context("an object has a name")?;
            let version = match &metadata["generation"] {
                Value::Null => metadata["resourceVersion"].to_string(),
                // What the spec and the metadata are made of, and no status.
                generation => format!(
                    "{generation} {} {}",
                    metadata["labels"], metadata["annotations"]
                ),
            };
            Ok((format!("{kind} {name}"), version))
        })
        .collect()
}
