//! Two real nodes that Sluice carries the Services of, with servers and callers that all tests share.
//!
//! Services over the shared servers are in their namespace, since selectors do not reach further; each test has its own
//! there. A test that changes pods has a namespace of its own for them.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use sluice_kind_tests::common::{Alone, Common, Quiet};
use sluice_node_agent::maps::Maps as _;
use sluice_node_agent::maps::kernel::Kernel;
use sluice_node_agent::program::Pins;
use sluice_testbed::cluster::{self, Cluster, Node, Proxy};
use sluice_testbed::pod::Orders;
use sluice_testbed::tier::eventually;

use crate::objects::{self, Server, Service};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The namespace of the shared servers.
pub(crate) const SERVERS: &str = "servers";
/// A server on each node, in a network of its own; both have the label `app: pods`.
pub(crate) const PODS: [&str; 2] = ["near", "far"];
/// The same in the nodes' networks, with the label `app: hosts`.
pub(crate) const HOSTS: [&str; 2] = ["host-near", "host-far"];
/// What the servers in the nodes' networks listen on.
pub(crate) const HOST_PORT: u16 = 7080;
/// The port that the two of [`PODS`] have under this name is another number on each.
pub(crate) const MIXED: &str = "mixed";
/// Where an agent pins by default, below the node's own BPF file system.
const PINS: &str = "sluice";

static BED: Common<Bed> = Common::new(Bed::make);

pub(crate) struct Bed {
    pub(crate) near: Side,
    pub(crate) far: Side,
    pub(crate) cluster: Cluster,
}

/// Who connects from one node.
pub(crate) struct Side {
    pub(crate) pod: Caller,
    pub(crate) host_pod: Caller,
    pub(crate) host: Caller,
}

/// One that connects, with a name for messages.
pub(crate) struct Caller {
    pub(crate) name: String,
    pod: cluster::Pod,
}

/// For a test that leaves the others in peace.
pub(crate) fn quiet() -> Result<Quiet<Bed>> {
    BED.quiet()
}

/// For a test that disturbs others.
pub(crate) fn alone() -> Result<Alone<Bed>> {
    BED.alone()
}

impl Bed {
    fn make() -> Result<Self> {
        let started = Instant::now();
        let cluster = Cluster::start().nodes(2).proxy(Proxy::Sluice).up()?;
        cluster.namespace(SERVERS)?;
        let [near, far] = cluster.nodes() else {
            return Err(anyhow!("there are two nodes"));
        };
        let mut pods = Vec::new();
        for (number, node) in [near, far].into_iter().enumerate() {
            let mut server = Server::on(node.name(), SERVERS, PODS[number]);
            server.label = "pods";
            server.named = Some((MIXED, number));
            pods.push(server.object());
            let mut server = Server::on(node.name(), SERVERS, HOSTS[number]);
            server.label = "hosts";
            server.first_port = HOST_PORT;
            server.host = addresses_of(node).into();
            pods.push(server.object());
            for host_network in [false, true] {
                let name = caller(host_network, node);
                pods.push(objects::client(node.name(), SERVERS, &name, host_network));
            }
        }
        cluster.apply(&objects::list(&pods))?;
        await_pods(&cluster, SERVERS)?;
        let (near, far) = thread::scope(|scope| {
            let far = scope.spawn(|| Side::enter(&cluster, far));
            let near = Side::enter(&cluster, near);
            let far = far.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
            anyhow::Ok((near?, far?))
        })?;
        println!(
            "two nodes with Sluice, servers and callers are up after {:.1} s",
            started.elapsed().as_secs_f64()
        );
        Ok(Self { near, far, cluster })
    }

    /// Creates or changes a Service; gives what the API server made of it.
    pub(crate) fn service(&self, object: &Value) -> Result<Service> {
        let how = ["apply", "--server-side", "--output=json", "--filename", "-"];
        let stored = self.cluster.client().run_with(&object.to_string(), how)?;
        Ok(Service(serde_json::from_str(&stored)?))
    }

    /// A Service over shared servers, by the name of the test.
    pub(crate) fn over(&self, label: &str, name: &str, spec: Value) -> Result<Service> {
        self.service(&objects::service(SERVERS, name, label, spec))
    }

    pub(crate) fn delete(&self, namespace: &str, what: &[&str]) -> Result<()> {
        let how = ["delete", "--wait=false", "--namespace", namespace];
        self.cluster.kubectl([&how[..], what].concat()).map(drop)
    }

    /// The addresses of both nodes, of both families.
    pub(crate) fn node_addresses(&self) -> Vec<IpAddr> {
        self.cluster.nodes().iter().flat_map(addresses_of).collect()
    }

    /// Every node's address with this port.
    pub(crate) fn at_nodes(&self, port: u16) -> Vec<SocketAddr> {
        let addresses = self.node_addresses().into_iter();
        addresses
            .map(|address| SocketAddr::new(address, port))
            .collect()
    }

    /// Waits until no node's kernel knows this address, with whatever port.
    pub(crate) fn await_released(&self, address: IpAddr) -> Result<()> {
        let shown = SocketAddr::new(address, 0).to_string();
        let shown = shown.trim_end_matches('0');
        for node in self.cluster.nodes() {
            eventually(PATIENCE, "the address is released", || {
                let pins = Pins::new(node.bpffs().join(PINS));
                let image = Kernel::open(&pins)?.read()?.symbolic();
                ensure!(!image.contains(shown), "{}: {image}", node.name());
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Makes pods in a namespace of a test's own, and waits until they are ready.
    pub(crate) fn pods(&self, namespace: &str, servers: &[Server<'_>]) -> Result<()> {
        let pods = servers.iter().map(Server::object);
        self.cluster
            .apply(&objects::list(&pods.collect::<Vec<_>>()))?;
        for server in servers {
            let pod = format!("pod/{}", server.name);
            self.cluster.ready(namespace, &pod, PATIENCE)?;
        }
        Ok(())
    }
}

impl Side {
    fn enter(cluster: &Cluster, node: &Node) -> Result<Self> {
        let enter = |kind: &str, pod| Caller {
            name: format!("{kind} of {}", node.name()),
            pod,
        };
        let pod = |host_network| cluster.pod(SERVERS, &caller(host_network, node));
        Ok(Self {
            pod: enter("a pod", pod(false)?),
            host_pod: enter("a pod in the network", pod(true)?),
            host: enter("a process", node.client("caller")?),
        })
    }

    pub(crate) fn all(&self) -> [&Caller; 3] {
        [&self.pod, &self.host_pod, &self.host]
    }
}

impl Caller {
    /// A server that connects to others.
    pub(crate) fn inside(bed: &Bed, namespace: &str, name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            pod: bed.cluster.pod(namespace, name)?,
        })
    }
}

fn addresses_of(node: &Node) -> [IpAddr; 2] {
    let member = node.member();
    [member.address4().into(), member.address6().into()]
}

/// The name of the pod that a caller is in.
fn caller(host_network: bool, node: &Node) -> String {
    let kind = if host_network {
        "host-caller"
    } else {
        "caller"
    };
    format!("{kind}-{}", node.name())
}

/// Waits until all pods of a namespace are ready.
fn await_pods(cluster: &Cluster, namespace: &str) -> Result<()> {
    let wait = ["wait", "pods", "--all", "--for=condition=Ready"];
    let there = ["--timeout=60s", "--namespace", namespace];
    cluster
        .kubectl([&wait[..], &there].concat())
        .map(drop)
        .with_context(|| format!("the pods of {namespace}"))
}

impl Deref for Caller {
    type Target = Orders;

    fn deref(&self) -> &Orders {
        &self.pod
    }
}
