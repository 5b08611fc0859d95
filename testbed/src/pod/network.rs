//! The network of a pod: a namespace joined to its node's by a pair of links and routes to single addresses, without
//! a bridge; or the node's own.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use crate::netns::{Inside, Netns};
use crate::node::Node;

const LINK: &str = "eth0";
/// The node's end of every pod's link.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

type Pair = (Ipv4Addr, Ipv6Addr);

#[derive(Debug)]
pub(super) struct Network {
    own: Option<Netns>,
    first: Pair,
    addresses: Vec<Pair>,
}

impl Network {
    pub(super) fn of_the_node(node: &Node) -> Self {
        let first = (node.member().address4(), node.member().address6());
        Self {
            own: None,
            first,
            addresses: vec![first],
        }
    }

    /// A namespace of its own with `count` addresses of each family, at least one.
    pub(super) fn own(node: &Node, count: u8) -> Result<Self> {
        let number = node.next_pod()?;
        let own = node.run().netns(&format!("{}-{number}", node.name()))?;
        let first = pair(node, number);
        let more = (1..count).map(|_| Ok(pair(node, node.next_pod()?)));
        let addresses = iter::once(Ok(first))
            .chain(more)
            .collect::<Result<Vec<_>>>()?;
        join(node, &own, &format!("pod{number}"), &addresses)
            .context("joining the pod's network")?;
        Ok(Self {
            own: Some(own),
            first,
            addresses,
        })
    }

    pub(super) fn netns<'a>(&'a self, node: &'a Node) -> &'a Inside {
        self.own.as_ref().map_or(node.netns(), |own| own)
    }

    pub(super) fn first(&self) -> Pair {
        self.first
    }

    pub(super) fn addresses(&self) -> &[Pair] {
        &self.addresses
    }

    /// Each address by itself, so that a datagram's answer comes from where it was sent to; and loopback.
    pub(super) fn listening(&self) -> Vec<IpAddr> {
        let loopback = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let pairs = self.addresses.iter().copied().chain([loopback]);
        pairs
            .flat_map(|(v4, v6)| [IpAddr::from(v4), IpAddr::from(v6)])
            .collect()
    }
}

/// The addresses of a node's pod by its number.
fn pair(node: &Node, number: u8) -> Pair {
    let member = node.member();
    let v4 = Ipv4Addr::from_bits(member.pods4().to_bits() | u32::from(number));
    let v6 = Ipv6Addr::from_bits(member.pods6().to_bits() | u128::from(number));
    (v4, v6)
}

fn join(node: &Node, pod: &Netns, link: &str, addresses: &[Pair]) -> Result<()> {
    let gateway4 = Ipv4Addr::from_bits(node.member().pods4().to_bits() | 1);
    node.netns().links(|links| {
        links.veth(link, LINK, pod)?;
        links.address(link, gateway4, 32)?;
        links.address(link, GATEWAY6, 64)?;
        links.up(link)?;
        for (v4, v6) in addresses {
            links.route(*v4, 32, link, None)?;
            links.route(*v6, 128, link, None)?;
        }
        Ok(())
    })?;
    pod.links(|links| {
        for (v4, v6) in addresses {
            links.address(LINK, *v4, 32)?;
            links.address(LINK, *v6, 128)?;
        }
        links.up(LINK)?;
        links.route(gateway4, 32, LINK, None)?;
        links.route(Ipv4Addr::UNSPECIFIED, 0, LINK, Some(gateway4.into()))?;
        links.route(Ipv6Addr::UNSPECIFIED, 0, LINK, Some(GATEWAY6.into()))?;
        links.await_carrier(LINK)
    })?;
    node.netns().links(|links| links.await_carrier(link))
}
