//! Two real nodes without kube-proxy, and an agent on each.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::CustomResourceExt as _;
use sluice_crds::{NodeReport, TrafficSplit};
use sluice_node_agent::maps::Maps as _;
use sluice_node_agent::maps::kernel::Kernel;
use sluice_node_agent::program::Pins;
use sluice_testbed::cluster::{Cluster, Node, Proxy};
use sluice_testbed::process::{Command, Process};
use sluice_testbed::tier::{Shared, eventually};

pub(crate) const AGENT: &str = "agent";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Where an agent pins by default, below the node's own BPF file system.
const PINS: &str = "sluice";

pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    _agents: Vec<Process>,
}

static BED: Shared<Bed> = Shared::new(Bed::start);

/// Shared by the tests; each has a namespace of its own in it.
pub(crate) fn bed() -> Result<Arc<Bed>> {
    BED.get()
}

impl Bed {
    fn start() -> Result<Self> {
        let cluster = Cluster::start().nodes(2).proxy(Proxy::None).up()?;
        for crd in [TrafficSplit::crd(), NodeReport::crd()] {
            cluster.apply(&serde_json::to_string(&crd)?)?;
        }
        let agents = cluster.nodes().iter().map(|node| {
            agent(&cluster, node, node.name())?
                .arg("--cgroup-root")
                .arg(node.cgroup().path())
                .spawn()
        });
        let agents = agents.collect::<Result<Vec<_>>>()?;
        let bed = Self {
            cluster,
            _agents: agents,
        };
        for node in bed.cluster.nodes() {
            bed.await_image_of(node, "the Service of the API server", |image| {
                image.contains("10.96.0.1:443/TCP")
            })?;
        }
        Ok(bed)
    }

    /// Waits until the kernel of a node holds an image like this.
    pub(crate) fn await_image_of(
        &self,
        node: &Node,
        what: &str,
        holds: impl Fn(&str) -> bool,
    ) -> Result<()> {
        eventually(PATIENCE, what, || {
            let maps = Kernel::open(&Pins::new(node.bpffs().join(PINS)))?;
            let image = maps.read()?.symbolic();
            ensure!(holds(&image), "{}: {image}", node.name());
            Ok(())
        })
    }
}

/// An agent on this node that calls itself so, to be completed.
pub(crate) fn agent(cluster: &Cluster, node: &Node, name: &str) -> Result<Command> {
    let api_server = format!("https://{}:6443", cluster.fabric().own().address4());
    let command = node.command(AGENT, env::current_exe()?)?;
    Ok(command
        .args([AGENT, "--node-name", name])
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .args(["--api-server", &api_server, "--check-every", "2"]))
}
