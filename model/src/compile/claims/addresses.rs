//! Which addresses a policy may claim: those that were granted, and never some others.
//!
//! Of Services the addresses that cluster and cloud gave out are out of reach, whoever serves them. External
//! ones are not: a user can write any into a Service, and could so take an address from whom it was
//! granted to.

use std::net::IpAddr;

use crate::{
    facts::{frontend::AddressPort, grant},
    finding::Reason,
    index::Snapshot,
    key::{Name, ServiceKey},
};

/// By the convention of every installer; what is behind it may have another name.
const DNS: (&str, &str) = ("kube-system", "kube-dns");

fn is_dns(service: &ServiceKey) -> bool {
    (service.0.namespace(), service.0.name()) == DNS
}

/// Why this policy may not claim these ports: reason, field and detail.
pub(super) fn refusal(
    snapshot: Snapshot<'_>,
    policy: &Name,
    ip: IpAddr,
    ports: &[AddressPort],
) -> Option<(Reason, String, String)> {
    let grants = granted(snapshot, policy, ip);
    let field = "spec.frontend.address";
    if let Some(detail) = reserved(snapshot, policy, ip, &grants) {
        return Some((Reason::AddressReserved, format!("{field}.ip"), detail));
    }
    let namespace = policy.namespace();
    if grants.is_empty() {
        let detail = format!("no FrontendGrant lets namespace {namespace} claim {ip}");
        return Some((Reason::AddressNotGranted, format!("{field}.ip"), detail));
    }
    let refused = |port: &AddressPort| {
        let mut grants = grants.iter();
        !grants.any(|grant| grant.has_port(port.number, port.protocol))
    };
    let (i, port) = ports.iter().enumerate().find(|(_, port)| refused(port))?;
    let detail = format!(
        "no FrontendGrant lets namespace {namespace} claim port {}/{} of {ip}",
        port.number, port.protocol
    );
    let field = format!("{field}.ports[{i}]");
    Some((Reason::AddressNotGranted, field, detail))
}

fn granted<'a>(snapshot: Snapshot<'a>, policy: &Name, ip: IpAddr) -> Vec<&'a grant::Fact> {
    let Some(namespace) = snapshot.namespace(policy.namespace()) else {
        return Vec::new();
    };
    let grants = snapshot.grants();
    grants.filter(|grant| grant.grants(namespace, ip)).collect()
}

fn reserved(
    snapshot: Snapshot<'_>,
    policy: &Name,
    ip: IpAddr,
    grants: &[&grant::Fact],
) -> Option<String> {
    if let Some((node, _)) = snapshot.nodes_at(ip).next() {
        return Some(format!("{ip} is an address of node {node}"));
    }
    if snapshot.is_api_servers(ip) {
        return Some(format!("{ip} is an address of the API server"));
    }
    let named = grants.iter().any(|grant| grant.names(ip));
    let mut holders = snapshot.holders(ip);
    holders.find_map(|(service, _)| {
        let elsewhere = service.0.namespace() != policy.namespace();
        if is_dns(service) {
            let way = "it takes a grant with a range of this address alone";
            (!named).then(|| format!("{ip} is the DNS Service's; {way}"))
        } else if elsewhere || service.is_api_server() {
            Some(format!("{ip} is an address of Service {service}"))
        } else {
            None
        }
    })
}
