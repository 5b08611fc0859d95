//! Which addresses a policy may send connections to: none that are the cluster's own.
//!
//! Nodes ask backends whether they are usable, from their own network and in their own name, so what a
//! tenant could not reach itself must not be one. And an address of a Service is not resolved a
//! second time: connections to it would end there.

use std::net::IpAddr;

use crate::{
    facts::balancing,
    finding::{Finding, Reason},
    index::Snapshot,
    key::Subject,
};

/// The first of them that may not be one.
pub(super) fn reserved(
    snapshot: Snapshot<'_>,
    subject: &Subject,
    policy: &balancing::Fact,
) -> Option<Finding> {
    let groups = policy.groups.iter().enumerate();
    let mut addresses = groups.flat_map(|(i, group)| {
        let addresses = group.addresses().iter().enumerate();
        addresses.map(move |(j, address)| (i, j, address.ip))
    });
    addresses.find_map(|(i, j, ip)| {
        let detail = whose(snapshot, ip)?;
        let finding = Finding::new(subject.clone(), Reason::AddressReserved, detail);
        Some(finding.at(format!("spec.backends[{i}].addresses[{j}].ip")))
    })
}

fn whose(snapshot: Snapshot<'_>, ip: IpAddr) -> Option<String> {
    if let Some((node, _)) = snapshot.nodes_at(ip).next() {
        return Some(format!(
            "{ip} is an address of node {node}, never a backend"
        ));
    }
    if snapshot.is_api_servers(ip) {
        return Some(format!(
            "{ip} is an address of the API server, never a backend"
        ));
    }
    let (service, _) = snapshot.holders(ip).next()?;
    Some(format!(
        "{ip} is an address of Service {service}, never a backend"
    ))
}
