//! FrontendGrant: which namespaces may claim which addresses. Any fault leaves no fact.

use std::{collections::BTreeSet, net::IpAddr};

use sluice_crds::{
    FrontendGrant,
    grant::{
        FrontendGrantSpec, MAX_PORT_RANGES, MAX_RANGES, NAMESPACES_NAMED, PORT_ORDER,
        PortRange as CrdPortRange,
    },
};

use super::{
    Parsed,
    faults::Faults,
    frontend::{NOT_A_PORT, protocol},
    ip::Cidr,
    namespace,
    origin::Origin,
    selector::{self, Selector},
};
use crate::key::{GrantKey, Port, Protocol};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub origin: Origin,
    pub namespaces: Selector,
    pub addresses: Box<[Cidr]>,
    /// `None` is all of them.
    pub ports: Option<Box<[PortRange]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: Port,
    pub last: Port,
    /// `None` is each.
    pub protocol: Option<Protocol>,
}

impl Fact {
    /// Whether policies of such a namespace may claim this address. Which of its ports is another
    /// question.
    pub fn grants(&self, namespace: &namespace::Fact, ip: IpAddr) -> bool {
        let mut addresses = self.addresses.iter();
        self.namespaces.matches(&namespace.labels) && addresses.any(|range| range.contains(ip))
    }

    /// Whether one of its ranges is this address and no other.
    pub fn names(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|range| range.is_only(ip))
    }

    pub fn has_port(&self, number: Port, protocol: Protocol) -> bool {
        self.ports.as_ref().is_none_or(|ranges| {
            ranges.iter().any(|range| {
                (range.first..=range.last).contains(&number)
                    && range.protocol.is_none_or(|own| own == protocol)
            })
        })
    }
}

pub fn parse(key: &GrantKey, object: &FrontendGrant) -> Parsed<Fact> {
    let FrontendGrantSpec {
        namespaces,
        addresses,
        ports,
    } = &object.spec;
    let mut faults = Faults::of(key.clone());
    if namespaces.match_labels.is_none() && namespaces.match_expressions.is_none() {
        faults.note("spec.namespaces", NAMESPACES_NAMED);
    }
    let namespaces = selector::parse(namespaces, "spec.namespaces", &mut faults);
    let addresses = parse_addresses(addresses, &mut faults);
    let ports = ports.as_ref().map(|ports| parse_ports(ports, &mut faults));
    let fact = faults.is_empty().then(|| Fact {
        origin: Origin::of(&object.metadata),
        namespaces,
        addresses,
        ports,
    });
    let findings = faults.into_findings();
    Parsed { fact, findings }
}

fn parse_addresses(texts: &[String], faults: &mut Faults) -> Box<[Cidr]> {
    let field = "spec.addresses";
    faults.count(field, texts.len(), 1, MAX_RANGES);
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let field = || format!("{field}[{i}]");
        match Cidr::parse(text) {
            Ok(range) => {
                faults.once(&mut seen, text, field);
                parsed.push(range);
            }
            Err(detail) => faults.note(field(), detail),
        }
    }
    parsed.into()
}

fn parse_ports(ranges: &[CrdPortRange], faults: &mut Faults) -> Box<[PortRange]> {
    let field = "spec.ports";
    faults.count(field, ranges.len(), 1, MAX_PORT_RANGES);
    let mut parsed = Vec::new();
    for (i, range) in ranges.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let last = range.end_port.unwrap_or(range.port);
        let (Some(first), Some(last)) = (Port::new(range.port), Port::new(last)) else {
            faults.note(field, NOT_A_PORT);
            continue;
        };
        if last < first {
            faults.note(field, PORT_ORDER);
            continue;
        }
        parsed.push(PortRange {
            first,
            last,
            protocol: range.protocol.map(protocol),
        });
    }
    parsed.into()
}
