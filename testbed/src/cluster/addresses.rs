//! The addresses of a cluster beside those that the fabric gives to nodes and pods.
//!
//! All are private to the run's namespaces, and so the same in every run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fabric::{Fabric, Member};

pub(super) const API_PORT: u16 = 6443;
/// The Service `kubernetes`: the first address of the range.
pub(super) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The Service of the cluster's own DNS.
pub(super) const DNS4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
pub(super) const DNS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 10);

const SERVICES4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);
const SERVICES6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0);

/// The ranges of Services, as the API server wants them.
pub(super) fn service_ranges() -> String {
    format!("{SERVICES4}/12,{SERVICES6}/112")
}

/// The API server's address inside the run's namespaces.
pub(super) fn api_url(fabric: &Fabric) -> String {
    format!("https://{}:{API_PORT}", fabric.own().address4())
}

/// The ranges of a node's pods.
pub(super) fn pod_ranges(node: Member) -> [String; 2] {
    [
        format!("{}/{}", node.pods4(), Member::pods_prefix4()),
        format!("{}/{}", node.pods6(), Member::pods_prefix6()),
    ]
}

/// A node's own addresses.
pub(super) fn of_node(node: Member) -> [IpAddr; 2] {
    [node.address4().into(), node.address6().into()]
}
