//! What kubectl shows of the kinds is what the documentation says that it shows.
//!
//! `SLUICE_WRITE=1` writes the page anew.

use std::{env, fs};

use anyhow::{Context as _, Result, ensure};

use crate::bed::{Bed, bed};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/samples");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubectl.md");
const FENCE: &str = "```";
const PROMPT: &str = "$ kubectl ";
/// Lines that are never twice the same.
const OWN: [&str; 3] = ["Creation Timestamp:", "Resource Version:", "UID:"];

pub(crate) fn kubectl_shows_what_the_documentation_says() -> Result<()> {
    let bed = bed()?;
    bed.cluster.kubectl(["apply", "--kustomize", SAMPLES])?;
    let page = fs::read_to_string(PAGE)?;
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
                shown.push_str(&format!("\n{PROMPT}{command}\n{}", output(&bed, command)?));
            }
            None => shown.push_str(part),
        }
    }
    ensure!(commands > 3, "{PAGE} shows {commands} commands");
    if env::var_os("SLUICE_WRITE").is_some() {
        fs::write(PAGE, shown)?;
        return Ok(());
    }
    let differs = page
        .lines()
        .zip(shown.lines())
        .find(|(said, is)| said != is);
    ensure!(
        page == shown,
        "docs/kubectl.md is not what kubectl shows, first here: {differs:?}; SLUICE_WRITE=1 writes it anew"
    );
    Ok(())
}

/// What it prints, without what is another each time.
fn output(bed: &Bed, command: &str) -> Result<String> {
    let printed = bed.cluster.kubectl(command.split_whitespace())?;
    let mut ages = None;
    let mut text = String::new();
    for line in printed.trim_end().lines() {
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
