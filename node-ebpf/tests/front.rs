//! Look-ups over rows that are written by hand.

use std::{collections::BTreeMap, net::IpAddr};

use sluice_node_abi::{
    keys::{self, Address, FrontendKey},
    values::{Frontend, NodeAddress, frontend, node},
};
use sluice_node_ebpf::front::{self, Fronts};

#[derive(Default)]
struct Rows {
    frontends: BTreeMap<FrontendKey, Frontend>,
    nodes: BTreeMap<Address, NodeAddress>,
    in_host_network: bool,
}

impl Fronts for Rows {
    fn frontend(&self, key: &FrontendKey) -> Option<Frontend> {
        self.frontends.get(key).copied()
    }

    fn node(&self, address: &Address) -> Option<NodeAddress> {
        self.nodes.get(address).copied()
    }

    fn is_in_host_network(&self) -> bool {
        self.in_host_network
    }
}

impl Rows {
    /// Two nodes; port 1 at every node's 30000, port 2 at this node's 30001, port 3 at an address.
    fn example(in_host_network: bool) -> Self {
        let mut rows = Self {
            in_host_network,
            ..Self::default()
        };
        for (ip, flags) in [
            ("192.168.0.1", node::OWN),
            ("192.168.0.2", 0),
            ("fd02::1", node::OWN),
        ] {
            rows.nodes.insert(address(ip), NodeAddress { flags });
        }
        for (ip, port, scope, id, flags) in [
            ("0.0.0.0", 30_000, keys::SCOPE_NODES, 1, 0),
            ("::", 30_000, keys::SCOPE_NODES, 1, 0),
            ("0.0.0.0", 30_001, keys::SCOPE_NODES, 2, frontend::OWN_NODE),
            ("192.168.0.2", 30_000, keys::SCOPE_ANY, 3, 0),
        ] {
            let key = FrontendKey {
                scope,
                ..key(ip, port)
            };
            rows.frontends.insert(key, Frontend { port: id, flags });
        }
        rows
    }

    fn port(&self, ip: &str, port: u16) -> Option<u32> {
        front::find(self, &key(ip, port)).map(|front| front.port)
    }
}

fn address(ip: &str) -> Address {
    keys::address(ip.parse().unwrap_or(IpAddr::from([0; 4])))
}

fn key(ip: &str, port: u16) -> FrontendKey {
    FrontendKey {
        address: address(ip),
        port: port.to_be_bytes(),
        protocol: keys::TCP,
        scope: keys::SCOPE_ANY,
    }
}

#[test]
fn a_port_of_every_node_answers_at_addresses_of_nodes_alone() {
    let rows = Rows::example(false);
    assert_eq!(rows.port("192.168.0.1", 30_000), Some(1));
    assert_eq!(rows.port("fd02::1", 30_000), Some(1));
    assert_eq!(rows.port("10.0.0.1", 30_000), None);
    assert_eq!(rows.port("192.168.0.1", 30_002), None);
}

#[test]
fn an_addresses_own_row_comes_first() {
    assert_eq!(Rows::example(false).port("192.168.0.2", 30_000), Some(3));
}

#[test]
fn a_port_of_the_own_node_is_silent_at_others() {
    let rows = Rows::example(false);
    assert_eq!(rows.port("192.168.0.1", 30_001), Some(2));
    assert_eq!(rows.port("192.168.0.2", 30_001), None);
}

#[test]
fn loopback_answers_in_the_hosts_network_alone() {
    let (pod, host) = (Rows::example(false), Rows::example(true));
    for ip in ["127.0.0.1", "127.1.2.3", "0.0.0.0"] {
        assert_eq!(pod.port(ip, 30_000), None, "{ip}");
        assert_eq!(host.port(ip, 30_000), Some(1), "{ip}");
        assert_eq!(host.port(ip, 30_001), Some(2), "{ip}");
    }
    for ip in ["::1", "::"] {
        assert_eq!(pod.port(ip, 30_000), None, "{ip}");
        assert_eq!(host.port(ip, 30_000), Some(1), "{ip}");
        assert_eq!(host.port(ip, 30_001), None, "{ip}");
    }
}
