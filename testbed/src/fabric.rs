//! What joins the nodes of a run: a network namespace with a bridge, and routes to the pods of each node.
//!
//! Everything lives in private namespaces, so that the same addresses serve in every run. A node *n* (from 1) has
//! the addresses `192.168.100.n` and `fd00:100::n`; its pods are in `10.244.n.0/24` and `fd00:10:244:n::/64`. The
//! fabric's own end, where a control plane may live, is `192.168.100.254` and `fd00:100::fe`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::netns::{Inside, Netns};
use crate::node::Node;
use crate::run::Run;

const BRIDGE: &str = "br0";
/// A node's link to the fabric.
pub const UPLINK: &str = "eth0";
const PREFIX4: u8 = 24;
const PREFIX6: u8 = 64;
const OWN: u8 = 254;

/// The network between nodes.
#[derive(Debug)]
pub struct Fabric {
    netns: Netns,
    members: Mutex<Vec<Joined>>,
    run: Run,
}

/// The addresses of a node by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub number: u8,
}

#[derive(Debug)]
struct Joined {
    member: Member,
    netns: Inside,
}

impl Member {
    pub fn address4(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 100, self.number)
    }

    pub fn address6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, self.number.into())
    }

    /// The first address of the node's /24 of pods.
    pub fn pods4(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.number, 0)
    }

    /// The first address of the node's /64 of pods.
    pub fn pods6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x10, 0x244, self.number.into(), 0, 0, 0, 0)
    }

    pub const fn pods_prefix4() -> u8 {
        24
    }

    pub const fn pods_prefix6() -> u8 {
        64
    }
}

impl Fabric {
    /// Starts a run with a fabric.
    pub fn start() -> Result<Self> {
        Self::create(&Run::start()?)
    }

    pub fn create(run: &Run) -> Result<Self> {
        let netns = run.netns("fabric")?;
        forward(&netns)?;
        let own = Member { number: OWN };
        netns.links(|links| {
            links.bridge(BRIDGE)?;
            links.address(BRIDGE, own.address4(), PREFIX4)?;
            links.address(BRIDGE, own.address6(), PREFIX6)?;
            links.up(BRIDGE)
        })?;
        Ok(Self {
            netns,
            members: Mutex::default(),
            run: run.clone(),
        })
    }

    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Makes a light node and joins it.
    pub fn node(&self, name: &str) -> Result<Node> {
        Node::create(self, name)
    }

    /// The namespace that holds the bridge; it reaches all nodes and pods.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The addresses of the fabric's own end.
    pub fn own(&self) -> Member {
        Member { number: OWN }
    }

    /// Joins a node: link, addresses, default routes, and routes both ways between its pods and all others.
    pub fn join(&self, node: &Inside) -> Result<Member> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u8::try_from(members.len() + 1)
            .ok()
            .filter(|number| *number < OWN);
        let member = Member {
            number: number.context("a fabric holds 253 nodes at most")?,
        };
        forward(node)?;
        let port = format!("node{}", member.number);
        self.netns.links(|links| {
            links.veth(&port, UPLINK, node)?;
            links.attach(&port, BRIDGE)?;
            links.up(&port)
        })?;
        let gateway = self.own();
        node.links(|links| {
            links.address(UPLINK, member.address4(), PREFIX4)?;
            links.address(UPLINK, member.address6(), PREFIX6)?;
            links.up(UPLINK)?;
            links.route(
                Ipv4Addr::UNSPECIFIED,
                0,
                UPLINK,
                Some(gateway.address4().into()),
            )?;
            links.route(
                Ipv6Addr::UNSPECIFIED,
                0,
                UPLINK,
                Some(gateway.address6().into()),
            )
        })
        .with_context(|| format!("setting up the link of node {}", member.number))?;

        node.links(|links| links.await_carrier(UPLINK))?;
        self.netns.links(|links| {
            links.await_carrier(&port)?;
            links.await_carrier(BRIDGE)
        })?;
        route_to_pods(&self.netns, BRIDGE, member)?;
        for other in members.iter() {
            route_to_pods(&other.netns, UPLINK, member)?;
            route_to_pods(node, UPLINK, other.member)?;
        }
        members.push(Joined {
            member,
            netns: node.again()?,
        });
        Ok(member)
    }
}

fn forward(netns: &Inside) -> Result<()> {
    netns.sysctl("ipv4/ip_forward", "1")?;
    netns.sysctl("ipv6/conf/all/forwarding", "1")
}

fn route_to_pods(from: &Inside, link: &str, to: Member) -> Result<()> {
    from.links(|links| {
        let via4: IpAddr = to.address4().into();
        let via6: IpAddr = to.address6().into();
        links.route(to.pods4(), Member::pods_prefix4(), link, Some(via4))?;
        links.route(to.pods6(), Member::pods_prefix6(), link, Some(via6))
    })
}
