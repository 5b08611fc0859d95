//! Two real nodes without kube-proxy, and an agent on each.

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_kind_tests::kinds;
use sluice_kind_tests::roles::AGENT;
use sluice_node_agent::maps::Maps as _;
use sluice_node_agent::maps::kernel::Kernel;
use sluice_node_agent::program::Pins;
use sluice_testbed::cluster::{Cluster, Node, Proxy};
use sluice_testbed::http;
use sluice_testbed::process::{Command, Process};
use sluice_testbed::tier::{Shared, eventually};

/// The testbed's verb by which a process of a node answers connects.
pub(crate) const SERVER: &str = "serve";
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9876);
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Where an agent pins by default, below the node's own BPF file system.
const PINS: &str = "sluice";

pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    /// One on each node, in the order of the nodes.
    pub(crate) agents: Vec<Process>,
}

static BED: Shared<Bed> = Shared::new(|| Bed::start(2));
static FAULTS: Shared<Bed> = Shared::new(|| Bed::start(1));
static ALONE: Mutex<()> = Mutex::new(());

/// Shared by the tests; each has a namespace of its own in it.
pub(crate) fn bed() -> Result<Arc<Bed>> {
    BED.get()
}

/// A cluster of one node to which things happen, for one test at a time.
pub(crate) fn alone() -> Result<(Arc<Bed>, MutexGuard<'static, ()>)> {
    // A test that failed has left things as they are, which the next one will notice.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((FAULTS.get()?, alone))
}

impl Bed {
    pub(crate) fn start(nodes: u8) -> Result<Self> {
        let cluster = Cluster::start().nodes(nodes).proxy(Proxy::None).up()?;
        kinds::install(&cluster)?;
        let agents = cluster.nodes().iter().map(|node| {
            agent(&cluster, node, node.name(), &api_server(&cluster))?
                .arg("--cgroup-root")
                .arg(node.cgroup().path())
                .spawn()
        });
        let agents = agents.collect::<Result<Vec<_>>>()?;
        let bed = Self { cluster, agents };
        for node in bed.cluster.nodes() {
            bed.await_image_of(node, "the Service of the API server", |image| {
                image.contains("10.96.0.1:443/TCP")
            })?;
        }
        Ok(bed)
    }

    /// What the agent of a node says of itself.
    pub(crate) fn status(&self, node: &Node) -> Result<Value> {
        let status = node
            .netns()
            .run(|| http::get(ADMIN, "/debug/status")?.good())?;
        Ok(serde_json::from_str(&status)?)
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

/// The API server past its Service.
pub(crate) fn api_server(cluster: &Cluster) -> String {
    format!("https://{}:6443", cluster.fabric().own().address4())
}

/// An agent on this node that calls itself so and asks the API server there, to be completed.
pub(crate) fn agent(
    cluster: &Cluster,
    node: &Node,
    name: &str,
    api_server: &str,
) -> Result<Command> {
    let command = node.command(AGENT, env::current_exe()?)?;
    Ok(command
        .args([AGENT, "--node-name", name])
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .args(["--api-server", api_server, "--check-every", "2"])
        .args(["--log", "info,sluice_runtime=debug"]))
}
