//! A real Kubernetes cluster on this machine: control plane, nodes with kubelets, a name server, in seconds.
//!
//! All its network is in namespaces of its run; the host reaches the API server through a door on its loopback. The
//! cluster is removed with its guard, also in a panic, and by the next start's sweep if the program was killed.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use sluice_testbed::cluster::{Cluster, Mode, Proxy};
//!
//! let cluster = Cluster::start().nodes(2).proxy(Proxy::KubeProxy(Mode::Nftables)).up()?;
//! cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: here}}")?;
//! println!("{}", cluster.kubectl(["get", "nodes"])?);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::certificates::Authority;
use self::forwarder::Forwarder;
use crate::daemon::Daemon;
use crate::fabric::Fabric;
use crate::run::Run;
use crate::tier::eventually;

pub use access::Access;
pub use api::Api;
pub use audit::Request;
pub use control_plane::ControlPlane;
pub use cut::Cut;
pub use images::{TESTBED, write_testbed as write_testbed_image};
pub use kubectl::Kubectl;
pub use node::Node;
pub use pod::Pod;
pub use standing::Standing;
pub use tools::Tools;

mod access;
mod addresses;
mod api;
mod audit;
mod certificates;
mod control_plane;
mod cut;
mod dns;
mod forwarder;
mod images;
mod kubectl;
pub(crate) mod node;
mod pod;
mod raise;
pub mod shipped;
mod standing;
mod tools;

/// Who makes Services work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    KubeProxy(Mode),
    /// Sluice alone, as it is shipped: see [`shipped`].
    Sluice,
    /// Nobody, until something else does.
    None,
}

/// How kube-proxy does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Nftables,
    Iptables,
}

/// A cluster to be raised; by default one node, with kube-proxy in nftables mode.
#[derive(Debug)]
pub struct Builder {
    nodes: u8,
    proxy: Proxy,
    images: Vec<PathBuf>,
    tell: Option<fn(&str, Duration)>,
}

/// A running cluster; dropping it removes it. The order of the fields is the order in which it ends.
#[derive(Debug)]
pub struct Cluster {
    access: Access,
    tools: Tools,
    nodes: Vec<Node>,
    _door: Forwarder,
    control_plane: ControlPlane,
    authority: Authority,
    fabric: Fabric,
}

/// What can be done with any cluster.
impl Deref for Cluster {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Cluster {
    /// A cluster, to be described and raised by [`Builder::up`].
    pub fn start() -> Builder {
        Builder {
            nodes: 1,
            proxy: Proxy::KubeProxy(Mode::default()),
            images: Vec::new(),
            tell: None,
        }
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.name() == name);
        node.with_context(|| format!("there is no node {name}"))
    }

    /// etcd, the API server, the controllers and the scheduler, to each of which things may happen.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Waits until the API server is ready, after something has happened to it.
    pub fn answers(&self, patience: Duration) -> Result<()> {
        eventually(patience, "the API server is ready", || {
            control_plane::answers(&self.fabric, self.client())
        })
    }

    /// Fails, with the end of its log, for a program of the control plane or of a node that has ended.
    pub fn check(&self) -> Result<()> {
        let daemons = self.control_plane.daemons();
        daemons.into_iter().try_for_each(Daemon::check)?;
        self.nodes.iter().try_for_each(Node::check)
    }

    /// Drops all packets between a node, its pods too, and the API server, until the result is dropped. Nobody is
    /// told: there is no reset and no error, as when a cable is pulled out.
    pub fn cut(&self, node: &Node) -> Result<Cut> {
        Cut::make(&self.fabric, node.member())
    }

    /// Starts kube-proxy on every node, beside whatever carries Services now; each ends when it is dropped.
    pub fn start_kube_proxy(&self, mode: Mode) -> Result<Vec<Daemon>> {
        let start = |node: &Node| node.start_kube_proxy(&self.fabric, &self.authority, mode);
        self.nodes.iter().map(start).collect()
    }

    /// The network between the nodes, where the control plane is.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    pub fn run(&self) -> &Run {
        self.fabric.run()
    }

    pub fn tools(&self) -> &Tools {
        &self.tools
    }
}

impl Builder {
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// Gives every node the image in this OCI archive.
    pub fn image(mut self, archive: impl Into<PathBuf>) -> Self {
        self.images.push(archive.into());
        self
    }

    /// Calls this after each step, with what was done and the time since the start.
    pub fn tell(mut self, tell: fn(&str, Duration)) -> Self {
        self.tell = Some(tell);
        self
    }

    /// Raises the cluster; when this returns, its nodes are ready and its name server answers.
    pub fn up(self) -> Result<Cluster> {
        raise::raise(&self)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        })
    }
}
