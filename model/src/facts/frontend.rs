//! What a policy claims: the ports of a Service of its namespace, or those of an address.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use sluice_crds::{
    frontend::{self as crds, ADDRESS, ADDRESS_RESERVED, ONE_FRONTEND, PORTS_DIFFER},
    port::{self, MAX_PORTS, MAX_SERVICE_PORTS},
};

use super::{faults::Faults, ip, split::is_service};
use crate::{
    finding::Reason,
    key::{Name, Port, Protocol, ServiceKey, is_label},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frontend {
    Service {
        service: ServiceKey,
        /// Names or numbers of the Service's ports; empty for all.
        ports: Box<[Arc<str>]>,
    },
    /// One that takes a grant.
    Address {
        ip: IpAddr,
        ports: Box<[AddressPort]>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPort {
    pub name: Arc<str>,
    pub number: Port,
    pub protocol: Protocol,
}

impl Frontend {
    /// The Service, if it is one.
    pub fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::Service { service, .. } => Some(service),
            Self::Address { .. } => None,
        }
    }

    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Service { .. } => None,
            Self::Address { ip, .. } => Some(*ip),
        }
    }
}

/// `None` for what cannot be any.
pub(super) fn parse(
    own: &Name,
    frontend: &crds::Frontend,
    faults: &mut Faults,
) -> Option<Frontend> {
    match (&frontend.service, &frontend.address) {
        (Some(service), None) => {
            let field = "spec.frontend.service";
            ports_of_service(&service.ports, &format!("{field}.ports"), faults);
            let ports = service.ports.iter().map(|port| port.as_str().into());
            Some(Frontend::Service {
                service: service_of(own, &service.name, &format!("{field}.name"), faults)?,
                ports: ports.collect(),
            })
        }
        (None, Some(address)) => {
            let ports = parse_ports(&address.ports, faults);
            let ip = match parse_ip(&address.ip) {
                Ok(ip) => ip,
                Err((reason, detail)) => {
                    faults.say(reason, "spec.frontend.address.ip", detail);
                    return None;
                }
            };
            Some(Frontend::Address { ip, ports })
        }
        (Some(_), Some(_)) | (None, None) => {
            faults.note("spec.frontend", ONE_FRONTEND);
            None
        }
    }
}

/// A Service of this object's namespace.
pub(super) fn service_of(
    own: &Name,
    name: &str,
    field: &str,
    faults: &mut Faults,
) -> Option<ServiceKey> {
    let service = is_service(name).then(|| own.sibling(name)).flatten();
    if service.is_none() {
        faults.note(field, format!("{name:?} is not a name of a Service"));
    }
    service.map(ServiceKey)
}

/// Names or numbers of a Service's ports. Whether it has them is not asked here.
pub(super) fn ports_of_service(ports: &[String], field: &str, faults: &mut Faults) {
    faults.count(field, ports.len(), 0, MAX_SERVICE_PORTS);
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let field = || format!("{field}[{i}]");
        if port.is_empty() || port.chars().count() > 63 {
            let detail = format!("{port:?} is neither a port's name nor a number");
            faults.note(field(), detail);
        } else {
            faults.once(&mut seen, port, field);
        }
    }
}

/// An address that is in its one form, and that another host than the caller's own can have.
fn parse_ip(text: &str) -> Result<IpAddr, (Reason, String)> {
    let Some(ip) = ip::plain(text) else {
        return Err((Reason::Invalid, format!("{text:?} is not {ADDRESS}")));
    };
    if ip::is_of_no_host(ip) {
        return Err((Reason::AddressReserved, format!("{ip}: {ADDRESS_RESERVED}")));
    }
    Ok(ip)
}

fn parse_ports(ports: &[port::AddressPort], faults: &mut Faults) -> Box<[AddressPort]> {
    let field = "spec.frontend.address.ports";
    faults.count(field, ports.len(), 1, MAX_PORTS);
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut parsed = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let name = port.name.as_str();
        if is_label(name) {
            faults.once(&mut names, name, || format!("{field}[{i}].name"));
        } else {
            faults.note(format!("{field}[{i}].name"), not_a_label(name));
        }
        let Some(number) = Port::new(port.port) else {
            faults.note(format!("{field}[{i}].port"), NOT_A_PORT);
            continue;
        };
        let protocol = protocol(port.protocol);
        if !numbers.insert((number, protocol)) {
            let detail = format!("{number}/{protocol} is there twice: {PORTS_DIFFER}");
            faults.note(format!("{field}[{i}].port"), detail);
        }
        parsed.push(AddressPort {
            name: name.into(),
            number,
            protocol,
        });
    }
    parsed.into()
}

pub(super) const NOT_A_PORT: &str = "a port is from 1 to 65535";

pub(super) fn not_a_label(text: &str) -> String {
    format!("{text:?} is not a DNS label")
}

pub(super) const fn protocol(protocol: port::Protocol) -> Protocol {
    match protocol {
        port::Protocol::TCP => Protocol::Tcp,
        port::Protocol::UDP => Protocol::Udp,
    }
}
