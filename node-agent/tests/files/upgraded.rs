//! An agent that follows another: of the same version or not, with all that was pinned or a part of it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_node_abi::maps;
use sluice_node_agent::program::{Hook, Pins};
use sluice_testbed::{bpf, load::Load, process::Process, tier::eventually};

use crate::bed::{Bed, PATIENCE, SERVICE, Shop, at};

const RATE: f64 = 300.0;
/// How long a connect is tried that nobody answers.
const NOBODY: Duration = Duration::from_millis(200);

/// Connects all the time while an agent ends, something happens, and another one takes over.
fn taken_over(
    shop: &Shop,
    agent: Process,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Process> {
    taken_over_with(shop, agent, meanwhile, &[])
}

/// The next one is given these options.
fn taken_over_with(
    shop: &Shop,
    mut agent: Process,
    meanwhile: impl FnOnce() -> Result<()>,
    options: &[&str],
) -> Result<Process> {
    let before = shop.bed.image()?;
    let load = Load::on([at(SERVICE)?])
        .until_stopped()
        .rate(RATE)
        .threads(2);
    let load = shop.client.start_load(&load)?;
    agent.stop(PATIENCE)?;
    meanwhile()?;
    let next = shop.bed.ready_agent_with(options)?;
    let report = load.stop()?;
    ensure!(report.failures.is_empty() && report.tries > 0, "{report}");
    println!("{} connects, none failed", report.tries);
    let after = shop.bed.image()?;
    ensure!(
        after.symbolic() == before.symbolic(),
        "{after}instead of\n{before}"
    );
    ensure!(
        after.generation >= before.generation,
        "{} after {}",
        after.generation,
        before.generation
    );
    Ok(next)
}

fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

pub(crate) fn maps_of_another_version_serve_until_the_new_ones_do() -> Result<()> {
    let shop = Shop::open()?;
    let bed = &shop.bed;
    let agent = bed.ready_agent()?;
    let folders = names(bed.node.bpffs())?;
    let programs = bpf::programs_on(bed.node.cgroup().path())?.len();

    let next = taken_over(&shop, agent, || {
        // As an older version would have pinned them.
        let own = folder_of(bed, maps::PORTS);
        Ok(fs::rename(&own, own.with_file_name("abi-0"))?)
    })?;
    ensure!(
        names(bed.node.bpffs())? == folders,
        "{:?}",
        names(bed.node.bpffs())?
    );

    // A newer one may have had a program more.
    let links = bed.node.bpffs().join("links");
    taken_over(&shop, next, || {
        let link = links.join(Hook::PeerName6.program());
        Ok(fs::rename(&link, links.join("of_a_later_version"))?)
    })?;
    let hooks = Hook::ALL.map(|hook| hook.program().to_owned());
    ensure!(names(&links)? == BTreeSet::from(hooks));
    ensure!(bpf::programs_on(bed.node.cgroup().path())?.len() == programs);
    Ok(())
}

pub(crate) fn what_is_switched_off_stays_off_until_it_is_switched_on() -> Result<()> {
    let shop = Shop::open()?;
    let bed = &shop.bed;
    let switch = |to: &str| -> Result<String> {
        let command = bed
            .node
            .command(to, env!("CARGO_BIN_EXE_sluice-node-agent"))?;
        let command = command
            .args(["switch", to, "--bpffs"])
            .arg(bed.node.bpffs());
        let mut process = command.spawn()?;
        process.wait(PATIENCE)?;
        process.output()
    };
    let is_off = || {
        eventually(PATIENCE, "the reason in the status", || {
            let status = bed.status()?;
            let reason = status["notReadyBecause"].as_str().unwrap_or_default();
            ensure!(reason.contains("switched off"), "{status}");
            Ok(())
        })?;
        let one = Load::on([at(SERVICE)?]).patience(NOBODY);
        ensure!(shop.client.load(&one)?.failures.len() == 1, "it is steered");
        anyhow::Ok(())
    };
    let said = switch("off")?;
    ensure!(said.contains("no agent has pinned anything"), "{said}");

    let mut agent = bed.ready_agent()?;
    let said = switch("off")?;
    ensure!(said.contains("off: every new connect"), "{said}");
    is_off()?;
    agent.stop(PATIENCE)?;
    let own = folder_of(bed, maps::PORTS);
    fs::rename(&own, own.with_file_name("abi-0"))?;
    let _agent = bed.agent()?;
    is_off()?;

    let said = switch("on")?;
    ensure!(said.contains("on: new connects"), "{said}");
    eventually(PATIENCE, "a ready agent", || bed.get("/readyz"))?;
    let report = shop.client.load(&Load::on([at(SERVICE)?]).times(20))?;
    ensure!(report.failures.is_empty(), "{report}");
    Ok(())
}

pub(crate) fn a_part_of_the_maps_is_as_good_as_none() -> Result<()> {
    let shop = Shop::open()?;
    let bed = &shop.bed;
    let mut agent = bed.ready_agent()?;
    for lost in [
        &[maps::BACKENDS][..],
        &[maps::FRONTENDS, maps::SLOTS],
        &[maps::PORTS],
    ] {
        let log = agent.output()?.len();
        agent = taken_over(&shop, agent, || {
            let pins = Pins::new(bed.node.bpffs());
            lost.iter()
                .try_for_each(|name| Ok(fs::remove_file(pins.map(name))?))
        })?;
        let said = agent.output()?[log..].to_owned();
        ensure!(
            said.contains("some of the pinned maps are gone") && said.contains(lost[0]),
            "{said}"
        );
    }
    Ok(())
}

pub(crate) fn maps_of_other_sizes_are_filled_before_they_serve() -> Result<()> {
    let shop = Shop::open()?;
    let bed = &shop.bed;
    let mut agent = bed.ready_agent()?;
    let folders = names(bed.node.bpffs())?;
    let capacity = |map: &str| -> Result<u64> {
        let status = bed.status()?;
        let maps = status["maps"].as_array().context("no maps")?;
        let row = maps.iter().find(|row| row["map"] == map);
        row.and_then(|row| row["capacity"].as_u64())
            .with_context(|| format!("{map}: {status}"))
    };
    let usual = capacity(maps::FRONTENDS)?;
    for (option, number, map) in [
        ("--max-frontends", 2 * usual, maps::FRONTENDS),
        ("--max-frontends", 1_024, maps::PORTS),
        ("--max-backends", 2_048, maps::BACKENDS),
    ] {
        let before = bed.image()?.generation;
        let options = [option, &number.to_string()];
        agent = taken_over_with(&shop, agent, || Ok(()), &options)?;
        ensure!(capacity(map)? == number, "{option} {number}");
        ensure!(bed.image()?.generation > before, "generations start over");
        ensure!(
            names(bed.node.bpffs())? == folders,
            "{:?}",
            names(bed.node.bpffs())?
        );

        // The same again finds the maps as it wants them.
        let log = agent.output()?.len();
        agent = taken_over_with(&shop, agent, || Ok(()), &options)?;
        let said = agent.output()?[log..].to_owned();
        ensure!(!said.contains("made anew"), "{said}");
    }
    Ok(())
}

fn folder_of(bed: &Bed, map: &str) -> PathBuf {
    let mut map = Pins::new(bed.node.bpffs()).map(map);
    map.pop();
    map
}
