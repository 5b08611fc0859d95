//! Groups of backends: pods of the policy's namespace, or addresses anywhere.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use sluice_crds::{
    balancing::{
        self as crds, ADDRESSES_IN_ALL, BACKEND_ADDRESS_RESERVED, CHECKED_ADDRESSES, GroupPods,
        MAX_ADDRESSES, MAX_GROUPS, MAX_PRIORITY, METADATA, NO_GROUP_WEIGHT, ONE_GROUP_SOURCE, Via,
    },
    frontend::ADDRESS,
};

use super::check::{self, Check};
use crate::{
    facts::{
        faults::Faults,
        frontend::{NOT_A_PORT, not_a_label},
        ip,
        labels::{self, Labels},
        redirect::{Ports, parse_ports},
        split::{Weight, parse_weight},
    },
    finding::Reason,
    key::{Port, is_label},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: Arc<str>,
    pub weight: Weight,
    /// Connections go to the lowest tier that has a usable backend.
    pub tier: u8,
    pub backends: Backends,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backends {
    Pods {
        labels: Labels,
        via: Via,
        ports: Ports,
    },
    Addresses {
        addresses: Box<[Address]>,
        /// All of them count as usable where there is none.
        check: Option<Check>,
    },
}

impl Group {
    /// Its addresses, if that is what it has.
    pub fn addresses(&self) -> &[Address] {
        match &self.backends {
            Backends::Addresses { addresses, .. } => addresses,
            Backends::Pods { .. } => &[],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub port: Port,
    pub weight: Weight,
}

pub(super) fn parse(groups: &[crds::Group], faults: &mut Faults) -> Box<[Group]> {
    let field = "spec.backends";
    faults.count(field, groups.len(), 1, MAX_GROUPS);
    if !groups.is_empty() && groups.iter().all(|group| group.weight == 0) {
        faults.note(field, NO_GROUP_WEIGHT);
    }
    let counts = groups
        .iter()
        .map(|group| group.addresses.as_ref().map_or(0, Vec::len));
    if counts.sum::<usize>() > MAX_ADDRESSES {
        faults.note(field, ADDRESSES_IN_ALL);
    }
    let mut names = BTreeSet::new();
    let mut parsed = Vec::with_capacity(groups.len());
    for (i, group) in groups.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let name = group.name.as_str();
        if is_label(name) {
            faults.once(&mut names, name, || format!("{field}.name"));
        } else {
            faults.note(format!("{field}.name"), not_a_label(name));
        }
        parsed.extend(parse_group(group, &field, faults));
    }
    parsed.into()
}

fn parse_group(group: &crds::Group, field: &str, faults: &mut Faults) -> Option<Group> {
    let crds::Group {
        name,
        weight,
        priority,
        pods,
        addresses,
        check,
    } = group;
    let weight = parse_weight(*weight, &format!("{field}.weight"), faults);
    if *priority > MAX_PRIORITY {
        let detail = format!("{priority} is above {MAX_PRIORITY}");
        faults.note(format!("{field}.priority"), detail);
    }
    if check.is_some() && addresses.is_none() {
        faults.note(format!("{field}.check"), CHECKED_ADDRESSES);
    }
    let backends = match (pods, addresses) {
        (Some(pods), None) => parse_pods(pods, &format!("{field}.pods"), faults),
        (None, Some(addresses)) => Backends::Addresses {
            addresses: parse_addresses(addresses, &format!("{field}.addresses"), faults),
            check: check
                .as_ref()
                .and_then(|check| check::parse(check, &format!("{field}.check"), faults)),
        },
        (Some(_), Some(_)) | (None, None) => {
            faults.note(field, ONE_GROUP_SOURCE);
            return None;
        }
    };
    Some(Group {
        name: name.as_str().into(),
        weight: weight?,
        tier: *priority,
        backends,
    })
}

fn parse_pods(pods: &GroupPods, field: &str, faults: &mut Faults) -> Backends {
    let GroupPods {
        match_labels,
        via,
        ports,
    } = pods;
    Backends::Pods {
        labels: labels::parse(match_labels, &format!("{field}.matchLabels"), faults),
        via: *via,
        ports: parse_ports(ports, &format!("{field}.ports"), faults),
    }
}

fn parse_addresses(
    addresses: &[crds::Address],
    field: &str,
    faults: &mut Faults,
) -> Box<[Address]> {
    faults.count(field, addresses.len(), 1, MAX_ADDRESSES);
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::with_capacity(addresses.len());
    for (i, crds::Address { ip, port, weight }) in addresses.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let ip = parse_ip(ip)
            .map_err(|(reason, detail)| faults.say(reason, format!("{field}.ip"), detail))
            .ok();
        let port = Port::new(*port);
        if port.is_none() {
            faults.note(format!("{field}.port"), NOT_A_PORT);
        }
        let weight = parse_weight(*weight, &format!("{field}.weight"), faults);
        if let (Some(ip), Some(port), Some(weight)) = (ip, port, weight) {
            if !seen.insert((ip, port)) {
                faults.note(field, format!("{ip} with port {port} is there twice"));
            }
            parsed.push(Address { ip, port, weight });
        }
    }
    parsed.into()
}

/// In its one form, and reachable from more than one host or link.
fn parse_ip(text: &str) -> Result<IpAddr, (Reason, String)> {
    let Some(ip) = ip::plain(text) else {
        return Err((Reason::Invalid, format!("{text:?} is not {ADDRESS}")));
    };
    let is_metadata = METADATA.iter().any(|known| ip::plain(known) == Some(ip));
    if ip::is_of_no_host(ip) || ip::is_link_local(ip) || is_metadata {
        let detail = format!("{ip}: {BACKEND_ADDRESS_RESERVED}");
        return Err((Reason::AddressReserved, detail));
    }
    Ok(ip)
}
