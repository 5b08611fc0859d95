//! EndpointSlice: addresses that can serve, and the ports they serve on.
//!
//! Only endpoints that could ever be chosen are kept: ready ones, and those that still serve while
//! they terminate. `publishNotReadyAddresses` needs nothing here, since Kubernetes' slice
//! controller writes such endpoints as ready.

mod placement;

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointPort, EndpointSlice};

use super::{Parsed, address, service::parse_protocol};
use crate::{
    finding::{Finding, Reason},
    key::{Family, Name, Port, Protocol, ServiceKey, SliceKey},
};

pub use placement::{Hints, Mark};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The Service that the slice says it belongs to.
    pub service: Option<ServiceKey>,
    pub family: Family,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<Endpoint>,
    /// One for each endpoint, in their order; none at all when no endpoint has any.
    pub hints: Option<Box<[Hints]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// The name of the Service's port that this resolves.
    pub name: Arc<str>,
    pub number: Port,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: IpAddr,
    pub state: State,
    /// The node that it is on.
    pub node: Mark,
}

impl Fact {
    /// The endpoints, each with its hints.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, Option<&Hints>)> {
        let hints = self.hints.as_deref();
        let hints_of = move |i: usize| hints.and_then(|hints| hints.get(i));
        let endpoints = self.endpoints.iter().enumerate();
        endpoints.map(move |(i, endpoint)| (endpoint, hints_of(i)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ready,
    /// Terminating and still serving: used when nothing is ready.
    Draining,
}

pub fn parse(key: &SliceKey, object: &EndpointSlice) -> Parsed<Fact> {
    let mut findings = Vec::new();
    let mut note = |field: String, reason: Reason, detail: String| {
        findings.push(Finding::new(key.clone(), reason, detail).at(field));
    };
    let service = object
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(SERVICE_NAME))
        .and_then(|name| Name::parse(key.0.namespace(), name))
        .map(ServiceKey);
    let family = match object.address_type.as_str() {
        "IPv4" => Family::V4,
        "IPv6" => Family::V6,
        other => {
            let (reason, detail) = match other {
                "FQDN" => (
                    Reason::Unsupported,
                    "slices of names are not used".to_owned(),
                ),
                _ => (
                    Reason::Invalid,
                    format!("{other:?} is not an address type: IPv4 or IPv6"),
                ),
            };
            note("addressType".to_owned(), reason, detail);
            return Parsed {
                fact: None,
                findings,
            };
        }
    };
    let mut ports = Vec::with_capacity(object.ports.as_ref().map_or(0, Vec::len));
    for (i, port) in object.ports.iter().flatten().enumerate() {
        match parse_port(port) {
            Ok(parsed) => ports.extend(parsed),
            Err((reason, detail)) => note(format!("ports[{i}]"), reason, detail),
        }
    }
    let mut endpoints = Vec::with_capacity(object.endpoints.as_ref().map_or(0, Vec::len));
    let mut hints = Vec::new();
    for (i, endpoint) in object.endpoints.iter().flatten().enumerate() {
        match parse_endpoint(family, endpoint) {
            Ok(Some(parsed)) => {
                endpoints.push(parsed);
                hints.push(Hints::parse(endpoint.hints.as_ref()));
            }
            Ok(None) => {}
            Err((reason, detail)) => {
                note(format!("endpoints[{i}].addresses[0]"), reason, detail);
            }
        }
    }
    Parsed {
        fact: Some(Fact {
            service,
            family,
            ports,
            endpoints,
            hints: hints
                .iter()
                .any(|hints| !hints.is_empty())
                .then(|| hints.into()),
        }),
        findings,
    }
}

/// A port without a number stands for every port and serves no Service port.
fn parse_port(port: &EndpointPort) -> Result<Option<SlicePort>, (Reason, String)> {
    let protocol = parse_protocol(port.protocol.as_deref())?;
    let Some(number) = port.port else {
        return Ok(None);
    };
    let Some(number) = Port::parse(number) else {
        let detail = format!("{number} is not a port from 1 to 65535");
        return Err((Reason::Invalid, detail));
    };
    Ok(Some(SlicePort {
        name: port.name.as_deref().unwrap_or_default().into(),
        number,
        protocol,
    }))
}

/// Kubernetes gives no meaning to addresses after the first.
fn parse_endpoint(
    family: Family,
    endpoint: &ApiEndpoint,
) -> Result<Option<Endpoint>, (Reason, String)> {
    let Some(state) = state(endpoint) else {
        return Ok(None);
    };
    let Some(text) = endpoint.addresses.first() else {
        return Err((Reason::Invalid, "there is no address".to_owned()));
    };
    let ip = address(text)?;
    if Family::of(ip) != family {
        let detail = format!("{ip} is not of the slice's address type, {family}");
        return Err((Reason::Invalid, detail));
    }
    let node = Mark::of(endpoint.node_name.as_deref().unwrap_or_default());
    Ok(Some(Endpoint { ip, state, node }))
}

/// Conditions that are left out mean ready, serving, not terminating.
fn state(endpoint: &ApiEndpoint) -> Option<State> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(true);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Some(State::Ready),
        (false, true) => Some(State::Draining),
        (false, false) => None,
    }
}
