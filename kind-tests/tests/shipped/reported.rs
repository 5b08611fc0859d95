//! A status that says no more than nodes have reported.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_kind_tests::shop::{Shop, condition, generation};
use sluice_testbed::cluster::Node;
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, SCENE, alone};
use crate::processes;

/// What the kernel keeps of the agent's name.
const AGENT: &str = "sluice-node-age";

pub(crate) fn programmed_waits_for_every_node_and_names_the_one_that_is_silent() -> Result<()> {
    let bed = alone()?;
    let shop = Shop::open(&bed, SCENE)?;
    shop.weigh(90, 10)?;
    let before = shop.programmed()?;
    let [_, silent] = bed.own()?.cluster.nodes() else {
        anyhow::bail!("there are two nodes");
    };

    let frozen = Frozen::agent_of(silent)?;
    shop.weigh(50, 50)?;
    let waiting = eventually(PATIENCE, "the silent node is named", || {
        let split = shop.stored()?;
        let programmed = condition(&split, "Programmed").context("it has the condition")?;
        let message = programmed["message"].as_str().unwrap_or_default();
        ensure!(
            programmed["status"] == "False"
                && programmed["reason"] == "NodesPending"
                && programmed["observedGeneration"] == split["metadata"]["generation"]
                && message.contains(silent.name())
                && split["status"]["nodes"]["programmed"] == 1,
            "{:#}",
            split["status"]
        );
        Ok(split)
    })?;
    let nodes = &waiting["status"]["nodes"];
    ensure!(
        nodes["desired"] == 2 && nodes["oldestGeneration"] == generation(&before)?,
        "{nodes}"
    );

    drop(frozen);
    let programmed = shop.programmed()?;
    ensure!(
        programmed["status"]["nodes"]["programmed"] == 2
            && programmed["status"]["nodes"]["oldestGeneration"] == generation(&programmed)?,
        "{:#}",
        programmed["status"]
    );
    Ok(())
}

/// An agent that is stopped where it is; it goes on when this is dropped.
struct Frozen(Pid);

impl Frozen {
    fn agent_of(node: &Node) -> Result<Self> {
        let agent = processes::find(node, AGENT, "")?;
        kill(agent, Signal::SIGSTOP)?;
        Ok(Self(agent))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = kill(self.0, Signal::SIGCONT) {
            eprintln!("an agent stays frozen: {error}");
        }
    }
}
