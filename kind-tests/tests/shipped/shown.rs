//! What kubectl shows of the kinds is what the documentation says that it shows, once operator and agents have said
//! what they say.
//!
//! `SLUICE_WRITE=1` writes the page anew.

use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use sluice_kind_tests::shop::condition;
use sluice_testbed::cluster::Access;
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, alone};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/samples");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubectl.md");
const FENCE: &str = "```";
const PROMPT: &str = "$ kubectl ";
/// Lines that are never twice the same, or not on another machine.
const OWN: [&str; 6] = [
    "Creation Timestamp:",
    "Last Transition Time:",
    "Resource Version:",
    "UID:",
    "Boot:",
    "Kernel:",
];
/// What follows in a description is what happened when.
const EVENTS: &str = "Events:";
/// Which maps there are, and how full they are, is another page's.
const MAPS: &str = "  Maps:";
/// What a report's entries begin with, and whose are shown.
const ENTRY: &str = "    Backends:";
const SHOWN: &str = "shop";
const POLICIES: &str = "trafficsplits,localredirectpolicies,balancingpolicies,frontendgrants";

pub(crate) fn kubectl_shows_what_the_documentation_says() -> Result<()> {
    let bed = alone()?;
    // They are new: the page has their first generation.
    bed.kubectl(["delete", "--ignore-not-found", "--kustomize", SAMPLES])?;
    bed.kubectl(["apply", "--kustomize", SAMPLES])?;
    is_settled(&bed)?;
    let page = fs::read_to_string(PAGE)?;
    if env::var_os("SLUICE_WRITE").is_some() {
        fs::write(PAGE, shown(&bed, &page)?)?;
        return Ok(());
    }
    // What nodes have reported comes a little later.
    eventually(PATIENCE, "docs/kubectl.md is what kubectl shows", || {
        let shown = shown(&bed, &page)?;
        let differs = page
            .lines()
            .zip(shown.lines())
            .find(|(said, is)| said != is);
        ensure!(
            page == shown,
            "first here: {differs:?}; SLUICE_WRITE=1 writes it anew"
        );
        Ok(())
    })
}

/// Waits until each sample has its status, and all nodes have reported.
fn is_settled(access: &Access) -> Result<()> {
    eventually(PATIENCE, "everything has a status", || {
        let policies = [POLICIES, "--namespace", SHOWN];
        let list = access.client().get(policies)?;
        for policy in list["items"].as_array().context("a list has items")? {
            let kind = match policy["kind"] == "FrontendGrant" {
                true => "Accepted",
                false => "Programmed",
            };
            let condition = condition(policy, kind).context("no condition")?;
            let waits = ["Pending", "NodesPending"]
                .contains(&condition["reason"].as_str().unwrap_or_default());
            ensure!(!waits, "{condition:#}");
        }
        Ok(())
    })
}

/// The page with what kubectl prints now.
fn shown(access: &Access, page: &str) -> Result<String> {
    let mut shown = String::new();
    let mut commands = 0;
    for (i, part) in page.split(FENCE).enumerate() {
        // Every second part is between fences.
        let command = part
            .trim_start()
            .lines()
            .next()
            .and_then(|line| line.strip_prefix(PROMPT));
        if i > 0 {
            shown.push_str(FENCE);
        }
        match command.filter(|_| i % 2 == 1) {
            Some(command) => {
                commands += 1;
                let output = output(access, command)?;
                shown.push_str(&format!("\n{PROMPT}{command}\n{output}"));
            }
            None => shown.push_str(part),
        }
    }
    ensure!(commands > 3, "{PAGE} shows {commands} commands");
    Ok(shown)
}

/// What it prints, without what is another each time.
fn output(access: &Access, command: &str) -> Result<String> {
    let printed = access.kubectl(command.split_whitespace())?;
    let mut ages = None;
    let mut text = String::new();
    for line in of_samples(&printed) {
        let mut line = line.trim_end().to_owned();
        if line.starts_with("NAME ") {
            ages = line.find("AGE");
        } else if let Some(column) = ages.filter(|column| *column < line.len()) {
            line.replace_range(column.., "1m");
        } else if let Some(name) = OWN.iter().find(|name| line.trim_start().starts_with(*name)) {
            let end = line.find(name).context("it is there")? + name.len();
            line.replace_range(end.., " ...");
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// The lines without events and maps, and without a report's entries about what is no sample.
fn of_samples(printed: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut entry: Option<Vec<&str>> = None;
    let mut of_maps = false;
    for line in printed.trim_end().lines() {
        if line.starts_with(EVENTS) {
            break;
        }
        let begins = line.starts_with(ENTRY);
        let is_inside = line.starts_with("    ");
        if of_maps && is_inside {
            continue;
        }
        of_maps = line == MAPS;
        if (begins || !is_inside)
            && let Some(entry) = entry.take().filter(|entry| is_shown(entry))
        {
            lines.extend(entry);
        }
        match &mut entry {
            _ if begins => entry = Some(vec![line]),
            Some(entry) => entry.push(line),
            None => lines.push(line),
        }
        if of_maps {
            lines.push("    ...");
        }
    }
    lines.extend(entry.into_iter().filter(|entry| is_shown(entry)).flatten());
    lines
}

fn is_shown(entry: &[&str]) -> bool {
    let namespace = entry
        .iter()
        .find_map(|line| line.trim().strip_prefix("Namespace:"));
    namespace.is_some_and(|namespace| namespace.trim() == SHOWN)
}
