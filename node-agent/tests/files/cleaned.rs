//! Taking Sluice off a node.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::{maps::loaded_maps, programs::loaded_programs};
use serde_json::Value;
use sluice_testbed::{bpf, load::Load, process::Process, tier::eventually};

use crate::bed::{Bed, PATIENCE, SERVICE, Shop, at};

/// What an agent may leave on a node, as the kernel lists it.
#[derive(Debug, PartialEq, Eq)]
struct Listing {
    programs: BTreeSet<u32>,
    pins: BTreeSet<PathBuf>,
}

impl Listing {
    fn of(bed: &Bed) -> Result<Self> {
        let mut pins = BTreeSet::new();
        let mut folders = vec![bed.node.bpffs().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
                pins.insert(entry.path());
            }
        }
        Ok(Self {
            programs: bpf::programs_on(bed.node.cgroup().path())?,
            pins,
        })
    }
}

/// How long a connect is tried that nobody answers.
const NOBODY: Duration = Duration::from_millis(200);

/// One level below the node's own folder, which is the testbed's.
const PINS: &str = "sluice";

fn clean_up(bed: &Bed, name: &str) -> Result<Process> {
    let mut command = bed
        .node
        .command(name, env!("CARGO_BIN_EXE_sluice-node-agent"))?;
    command = command.args(["cleanup", "--output", "json", "--bpffs"]);
    let mut process = command
        .arg(bed.node.bpffs().join(PINS))
        .arg("--state")
        .arg(bed.state())
        .spawn()?;
    process.wait(PATIENCE)?;
    Ok(process)
}

pub(crate) fn a_clean_up_leaves_the_node_as_it_was_before_the_agent() -> Result<()> {
    let shop = Shop::open()?;
    let bed = &shop.bed;
    let before = Listing::of(bed)?;
    let mut agent = bed.agent_with_pins(&bed.node.bpffs().join(PINS))?;
    eventually(PATIENCE, "a ready agent", || bed.get("/readyz"))?;
    let mut caller = Caller::connect(bed)?;
    let during = Listing::of(bed)?;
    ensure!(during.programs.len() > before.programs.len() && during.pins.len() > 10);
    let maps: BTreeSet<u32> = maps_of(&during)?;
    agent.stop(PATIENCE)?;

    // Whoever holds a link keeps its program alive, but not attached.
    let held: Vec<_> = during
        .pins
        .iter()
        .filter_map(|pin| sluice_node_agent::bpf::open_pinned(pin).ok())
        .collect();
    let cleaned: Value = serde_json::from_str(&clean_up(bed, "cleanup")?.output()?)?;
    ensure!(Listing::of(bed)? == before, "{:?}", Listing::of(bed)?);
    let detached = cleaned["detached"].as_array().context("a list")?;
    ensure!(
        detached.len() == during.programs.len() - before.programs.len()
            && detached[0] == "connect6",
        "{cleaned}"
    );
    ensure!(!bed.state().exists(), "{cleaned}");
    drop(held);
    eventually(PATIENCE, "programs and maps are freed", || {
        for program in loaded_programs() {
            let id = program?.id();
            ensure!(
                before.programs.contains(&id) || !during.programs.contains(&id),
                "program {id}"
            );
        }
        for map in loaded_maps() {
            ensure!(!maps.contains(&map?.id()));
        }
        Ok(())
    })?;

    // What was established goes on; what is new meets nobody of ours.
    ensure!(caller.echo("after")? == "after");
    let one = Load::on([at(SERVICE)?]).patience(NOBODY);
    ensure!(shop.client.load(&one)?.failures.len() == 1);

    let again = clean_up(bed, "again")?.output()?;
    let again: Value = serde_json::from_str(&again)?;
    ensure!(
        again["detached"] == Value::Array(vec![]) && again["removed"] == Value::Array(vec![]),
        "{again}"
    );
    Ok(())
}

pub(crate) fn a_clean_up_waits_for_the_agent_to_end() -> Result<()> {
    let shop = Shop::open()?;
    let bed = &shop.bed;
    let _agent = bed.agent_with_pins(&bed.node.bpffs().join(PINS))?;
    eventually(PATIENCE, "a ready agent", || bed.get("/readyz"))?;
    let before = Listing::of(bed)?;
    let said = clean_up(bed, "cleanup")?.output()?;
    ensure!(said.contains("an agent is running with"), "{said}");
    ensure!(Listing::of(bed)? == before);
    Ok(())
}

fn maps_of(listing: &Listing) -> Result<BTreeSet<u32>> {
    let pins = listing.pins.iter();
    let maps =
        pins.filter(|pin| pin.is_file() && !pin.parent().is_some_and(|at| at.ends_with("links")));
    maps.map(|pin| Ok(aya::maps::MapData::from_pin(pin)?.info()?.id()))
        .collect()
}

/// A process of the node that keeps a connection to the Service open.
struct Caller {
    orders: std::process::ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
    _shell: Process,
}

impl Caller {
    fn connect(bed: &Bed) -> Result<Self> {
        let script = format!(
            "exec 3<>/dev/tcp/{SERVICE}/80 && read greeting <&3 && echo \"$greeting\" &&
             while read line; do echo \"$line\" >&3; read answer <&3; echo \"$answer\"; done"
        );
        let mut shell = bed
            .node
            .command("caller", "bash")?
            .args(["-c", &script])
            .piped()
            .spawn()?;
        let (orders, answers) = shell.pipes().context("pipes")?;
        let mut caller = Self {
            orders,
            answers: BufReader::new(answers),
            _shell: shell,
        };
        let greeting = caller.line()?;
        ensure!(greeting.starts_with('v'), "{greeting}");
        Ok(caller)
    }

    fn echo(&mut self, text: &str) -> Result<String> {
        writeln!(self.orders, "{text}")?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
