//! An agent over the maps of a bed, told by a test what objects there are.

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use sluice_model::{
    change::Change,
    facts,
    key::{Kind, NodeKey},
};
use sluice_node_abi::maps::Setting;
use sluice_node_agent::{
    agent::Agent,
    inputs::{News, View},
    maps::kernel::Kernel,
    node,
};
use sluice_testbed::node::Node;

use crate::bed::Bed;

pub(crate) struct Told {
    pub(crate) agent: Agent<Kernel>,
}

impl Told {
    /// The agent of the bed's node, which has heard that there is nothing.
    pub(crate) fn start(bed: &Bed) -> Result<Self> {
        let maps = bed.own_maps()?;
        let network = bed.node.netns().run(|| Ok(node::network_cookie()?))?;
        maps.set(Setting::HostNetwork, network)?;
        let own = NodeKey::parse("", bed.node.name()).context("the name of a node")?;
        let mut agent = Agent::start(maps)?.on_node(own);
        let nothing = |kind| Change::Relisted(kind, Default::default());
        agent.hear(news(Kind::ALL.map(nothing).into()));
        let mut told = Self { agent };
        told.settle()?;
        Ok(told)
    }

    /// Objects as they are from now on.
    pub(crate) fn apply(&mut self, manifests: &[Value]) -> Result<()> {
        let changes = manifests
            .iter()
            .map(|manifest| facts::parse(manifest.clone()).map_err(|error| anyhow!("{error:?}")));
        self.agent.hear(news(changes.collect::<Result<_>>()?));
        self.settle()
    }

    pub(crate) fn settle(&mut self) -> Result<()> {
        let done = self.agent.pass().context("everything is listed")?;
        ensure!(done.failed.is_empty() && done.skipped == 0, "{done:?}");
        Ok(())
    }
}

fn news(changes: Vec<Change>) -> News {
    News {
        changes,
        view: View::Whole,
        problems: Vec::new(),
    }
}

/// The Node object of a light node.
pub(crate) fn node_object(node: &Node) -> Value {
    let member = node.member();
    let addresses = [member.address4().to_string(), member.address6().to_string()];
    let addresses = addresses.map(|ip| json!({"type": "InternalIP", "address": ip}));
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name()},
        "status": {"addresses": addresses},
    })
}
