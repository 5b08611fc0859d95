//! Node: its own addresses, and the zone that it is in.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Node;

use super::{Parsed, address};
use crate::{
    finding::{Finding, Reason},
    key::NodeKey,
};

const ZONE: &str = "topology.kubernetes.io/zone";
const ENTRY: &str = "sluice.dev/entry-address";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Internal and external addresses, sorted.
    pub addresses: Vec<IpAddr>,
    pub zone: Option<Arc<str>>,
    /// Where it takes connections from elsewhere, if somebody said so.
    pub entry: Option<IpAddr>,
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
            Ok(ip) if ip.is_loopback() => findings.push(
                Finding::new(
                    key.clone(),
                    Reason::AddressReserved,
                    "every node has loopback",
                )
                .at(format!("status.addresses[{i}]")),
            ),
            Ok(ip) => addresses.push(ip),
            Err((reason, detail)) => findings.push(
                Finding::new(key.clone(), reason, detail).at(format!("status.addresses[{i}]")),
            ),
        }
    }
    let annotations = object.metadata.annotations.as_ref();
    let entry = annotations.and_then(|annotations| annotations.get(ENTRY));
    let entry = entry.map(|text| {
        address(text).map_err(|(reason, detail)| {
            let finding = Finding::new(key.clone(), reason, format!("{detail}; it means nothing"));
            findings.push(finding.at(format!("metadata.annotations[{ENTRY}]")));
        })
    });
    addresses.sort_unstable();
    addresses.dedup();
    let labels = object.metadata.labels.as_ref();
    let zone = labels.and_then(|labels| labels.get(ZONE)).cloned();
    Parsed {
        fact: Some(Fact {
            addresses,
            zone: zone.filter(|zone| !zone.is_empty()).map(Into::into),
            entry: entry.and_then(Result::ok),
        }),
        findings,
    }
}
