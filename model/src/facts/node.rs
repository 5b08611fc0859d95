//! Node: its own addresses.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;

use super::{Parsed, address};
use crate::{finding::Finding, key::NodeKey};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Internal and external addresses, sorted.
    pub addresses: Vec<IpAddr>,
}

pub fn parse(key: &NodeKey, object: &Node) -> Parsed<Fact> {
    let mut findings = Vec::new();
    let mut addresses = Vec::new();
    let texts = object
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_deref());
    for (i, entry) in texts.unwrap_or_default().iter().enumerate() {
        if !matches!(entry.type_.as_str(), "InternalIP" | "ExternalIP") {
            continue;
        }
        match address(&entry.address) {
            Ok(ip) => addresses.push(ip),
            Err((reason, detail)) => findings.push(
                Finding::new(key.clone(), reason, detail).at(format!("status.addresses[{i}]")),
            ),
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    Parsed {
        fact: Some(Fact { addresses }),
        findings,
    }
}
