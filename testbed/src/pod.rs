//! A light pod: a network namespace joined to its node's, a cgroup shaped as kubelet shapes it, and one process that
//! serves and takes orders.
//!
//! The process is this very program, executed again (see [`crate::entry`]); orders and answers are lines of JSON on
//! its standard input and output. It ends when the input does, so it cannot outlive its owner.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use self::network::Network;
use self::order::Task;
use crate::cgroup::Cgroup;
use crate::netns::Inside;
use crate::node::Node;
use crate::process::Process;
use crate::serve::{Behaviour, Naming, Service};

pub use orders::{Orders, Program, RunningLoad};
pub use place::{Driver, Qos};

mod channel;
mod inside;
mod network;
mod order;
mod orders;
mod place;

pub(crate) use inside::become_pod;

pub(crate) const ROLE: &str = "sluice-testbed-pod";

/// A pod to be started; by default in a network of its own, burstable, with the cgroupfs driver's paths.
#[derive(Debug)]
pub struct Builder {
    node: Node,
    service: Service,
    uid: String,
    /// How many addresses of each family in a network of its own; none for the node's network.
    network: Option<u8>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pod(Driver, Qos),
    Host,
}

/// A running pod, which takes [`Orders`]; dropping it ends it and removes its namespace and cgroup.
#[derive(Debug)]
pub struct Pod {
    name: String,
    uid: String,
    network: Network,
    orders: Orders,
    process: Process,
    tree: Cgroup,
    container: Cgroup,
    node: Node,
}

impl Builder {
    pub(crate) fn new(node: &Node, name: String) -> Self {
        Self {
            node: node.clone(),
            service: Service::new(name),
            uid: place::new_uid(),
            network: Some(1),
            place: Place::Pod(Driver::Cgroupfs, Qos::Burstable),
        }
    }

    /// What its answers say besides its name.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.service.version = version.into();
        self
    }

    /// Serves echo on this port, TCP and UDP, both families.
    pub fn port(mut self, port: u16) -> Self {
        self.service.ports.push(port);
        self
    }

    /// Serves HTTP on this port.
    pub fn http_port(mut self, port: u16) -> Self {
        self.service.http_ports.push(port);
        self
    }

    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = uid.into();
        self
    }

    /// Has so many addresses of each family, where one is the default; a cheap way to many backends.
    pub fn addresses(mut self, count: u8) -> Self {
        self.network = Some(count);
        self
    }

    /// Answers with the address and port that was reached as its name, such as `10.244.1.2:80`.
    pub fn named_by_address(mut self) -> Self {
        self.service.naming = Naming::ByAddress;
        self
    }

    /// Uses the node's network.
    pub fn host_network(mut self) -> Self {
        self.network = None;
        self
    }

    /// No pod at all: a process of the node, in its network and in `system.slice`.
    pub fn on_the_host(mut self) -> Self {
        self.place = Place::Host;
        self.host_network()
    }

    /// Lies where kubelet would put it with this driver and quality of service.
    pub fn cgroup(mut self, driver: Driver, qos: Qos) -> Self {
        self.place = Place::Pod(driver, qos);
        self
    }

    /// Starts the pod; when this returns, it serves.
    pub fn start(mut self) -> Result<Pod> {
        let name = self.service.name.clone();
        self.make()
            .with_context(|| format!("starting the pod {name} on {}", self.node.name()))
    }

    fn make(&mut self) -> Result<Pod> {
        let (tree, container) = match self.place {
            Place::Pod(driver, qos) => place::pod(self.node.cgroup(), &self.uid, driver, qos)?,
            Place::Host => place::host(self.node.cgroup(), &self.service.name)?,
        };
        let network = match self.network {
            Some(count) => Network::own(&self.node, count)?,
            None => Network::of_the_node(&self.node),
        };
        self.service.addresses = network.listening();
        let log = self.node.log_name(&self.service.name);
        let mut process = self
            .node
            .run()
            .command_again(&log)
            .arg(ROLE)
            .arg(serde_json::to_string(&self.service)?)
            .cgroup(&container)
            .netns(network.netns(&self.node))?
            .piped()
            .spawn()?;
        let pipes = process.pipes().context("the process has no pipes")?;
        let orders = Orders::open(&self.service.name, pipes)
            .with_context(|| process.output().unwrap_or_default())?;
        let (name, uid) = (self.service.name.clone(), self.uid.clone());
        let node = self.node.clone();
        Ok(Pod {
            name,
            uid,
            network,
            orders,
            process,
            tree,
            container,
            node,
        })
    }
}

impl Pod {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn address4(&self) -> Ipv4Addr {
        self.network.first().0
    }

    pub fn address6(&self) -> Ipv6Addr {
        self.network.first().1
    }

    /// Both addresses with this port.
    pub fn at(&self, port: u16) -> [SocketAddr; 2] {
        [
            (self.address4(), port).into(),
            (self.address6(), port).into(),
        ]
    }

    /// All its addresses, a pair for each that was wished for.
    pub fn addresses(&self) -> &[(Ipv4Addr, Ipv6Addr)] {
        self.network.addresses()
    }

    pub fn netns(&self) -> &Inside {
        self.network.netns(&self.node)
    }

    /// The cgroup of its one container, where its process is.
    pub fn container_cgroup(&self) -> &Cgroup {
        &self.container
    }

    /// The pod's cgroup, by whose id callers are known.
    pub fn cgroup(&self) -> &Cgroup {
        &self.tree
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills its process, as if it had crashed; its namespace and cgroup stay.
    pub fn kill(&self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)
    }

    /// Makes its echo ports fail in some way, or answer again.
    pub fn behave(&self, behaviour: Behaviour) -> Result<()> {
        self.orders.done(Task::Behave(behaviour))
    }

    /// What `/ready` on its HTTP ports answers.
    pub fn set_ready(&self, ready: bool) -> Result<()> {
        self.orders.done(Task::Ready(ready))
    }
}

impl Deref for Pod {
    type Target = Orders;

    fn deref(&self) -> &Orders {
        &self.orders
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        if let Err(error) = self.tree.destroy() {
            eprintln!("the pod {} was not removed whole: {error:#}", self.name);
        }
    }
}
