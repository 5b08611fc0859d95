//! The ports of a Service. One that cannot be used is a finding, and the others serve.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use super::ServicePortFact;
use crate::{
    finding::Reason,
    key::{Port, Protocol},
};

/// There may be very many, so none is compared with each other one.
pub(super) fn parse(
    spec: &ServiceSpec,
    note: &mut impl FnMut(String, Reason, String),
) -> Vec<ServicePortFact> {
    let on_nodes = matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"));
    let count = spec.ports.as_ref().map_or(0, Vec::len);
    let (mut numbers, mut on_nodes_taken) = (BTreeSet::new(), BTreeSet::new());
    let mut ports = Vec::with_capacity(count);
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        let mut port = match parse_port(port, on_nodes) {
            Ok(port) => port,
            Err((field, reason, detail)) => {
                note(format!("spec.ports[{i}].{field}"), reason, detail);
                continue;
            }
        };
        if !numbers.insert((port.number, port.protocol)) {
            let detail = format!("{}/{} is listed twice", port.number, port.protocol);
            note(format!("spec.ports[{i}]"), Reason::Invalid, detail);
            continue;
        }
        if let Some(number) = port.node_port
            && !on_nodes_taken.insert((number, port.protocol))
        {
            let detail = format!("{number}/{} is listed twice", port.protocol);
            note(format!("spec.ports[{i}].nodePort"), Reason::Invalid, detail);
            port.node_port = None;
        }
        ports.push(port);
    }
    ports
}

fn parse_port(
    port: &ServicePort,
    on_nodes: bool,
) -> Result<ServicePortFact, (&'static str, Reason, String)> {
    let protocol = parse_protocol(port.protocol.as_deref())
        .map_err(|(reason, detail)| ("protocol", reason, detail))?;
    let number =
        Port::parse(port.port).ok_or_else(|| ("port", Reason::Invalid, no_port(port.port)))?;
    // 0 is written for "none yet".
    let node_port = match port.node_port.filter(|number| on_nodes && *number != 0) {
        Some(number) => {
            let parsed = Port::parse(number);
            Some(parsed.ok_or_else(|| ("nodePort", Reason::Invalid, no_port(number)))?)
        }
        None => None,
    };
    Ok(ServicePortFact {
        name: port.name.as_deref().unwrap_or_default().into(),
        number,
        protocol,
        node_port,
    })
}

fn no_port(number: i32) -> String {
    format!("{number} is not a port from 1 to 65535")
}

/// A protocol as Services and EndpointSlices write it; TCP when left out.
pub(in crate::facts) fn parse_protocol(text: Option<&str>) -> Result<Protocol, (Reason, String)> {
    match text.unwrap_or("TCP") {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Err((
            Reason::Unsupported,
            "SCTP is not steered; the port is left alone".to_owned(),
        )),
        other => Err((
            Reason::Invalid,
            format!("{other:?} is not a protocol: TCP or UDP"),
        )),
    }
}
