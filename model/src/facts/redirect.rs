//! LocalRedirectPolicy: connections that stay on their node. Any fault leaves no fact.

use std::{collections::BTreeSet, sync::Arc};

use sluice_crds::{
    LocalRedirectPolicy,
    port::{BackendPort, MAX_PORTS},
    redirect::{
        Fallback, LocalBackend, LocalRedirectPolicySpec, MAX_PER_SECOND, PODS_NAMED, PORTS_LED_TO,
    },
};

use super::{
    Parsed,
    faults::Faults,
    frontend::{self, Frontend, NOT_A_PORT, not_a_label},
    origin::Origin,
    peer::{self, Peer},
    selector::{self, Selector},
};
use crate::key::{Port, RedirectKey, is_label};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub origin: Origin,
    pub frontend: Frontend,
    /// Pods of the policy's namespace.
    pub pods: Selector,
    pub ports: Ports,
    pub fallback: Fallback,
    /// `None` is everybody.
    pub clients: Option<Box<[Peer]>>,
    /// `None` is every node.
    pub nodes: Option<Selector>,
    pub skip_own_traffic: bool,
    pub max_per_second: Option<u32>,
}

/// By the frontend's port, its name or else its number: the backends' port.
pub type Ports = Box<[(Arc<str>, Port)]>;

pub fn parse(key: &RedirectKey, object: &LocalRedirectPolicy) -> Parsed<Fact> {
    let LocalRedirectPolicySpec {
        frontend,
        backend: LocalBackend { pods, ports },
        fallback,
        clients,
        nodes,
        skip_own_traffic,
        max_per_second,
    } = &object.spec;
    let mut faults = Faults::of(key.clone());
    let frontend = frontend::parse(&key.0, frontend, &mut faults);
    if pods.match_labels.is_none() && pods.match_expressions.is_none() {
        faults.note("spec.backend.pods", PODS_NAMED);
    }
    let pods = selector::parse(pods, "spec.backend.pods", &mut faults);
    let ports = parse_ports(ports, "spec.backend.ports", &mut faults);
    if let Some(frontend) = &frontend {
        all_led_to(frontend, &ports, "spec.backend.ports", &mut faults);
    }
    let clients = clients
        .as_ref()
        .map(|clients| peer::parse_all(clients, "spec.clients", &mut faults));
    let nodes = nodes
        .as_ref()
        .map(|nodes| selector::parse(nodes, "spec.nodes", &mut faults));
    if let Some(limit) = max_per_second
        && !(1..=MAX_PER_SECOND).contains(limit)
    {
        let detail = format!("{limit} is not from 1 to {MAX_PER_SECOND}");
        faults.note("spec.maxPerSecond", detail);
    }
    let fact = frontend.filter(|_| faults.is_empty()).map(|frontend| Fact {
        origin: Origin::of(&object.metadata),
        frontend,
        pods,
        ports,
        fallback: *fallback,
        clients,
        nodes,
        skip_own_traffic: *skip_own_traffic,
        max_per_second: *max_per_second,
    });
    let findings = faults.into_findings();
    Parsed { fact, findings }
}

pub(super) fn parse_ports(ports: &[BackendPort], field: &str, faults: &mut Faults) -> Ports {
    faults.count(field, ports.len(), 1, MAX_PORTS);
    let mut names = BTreeSet::new();
    let mut parsed = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let name = port.name.as_str();
        if is_label(name) {
            faults.once(&mut names, name, || format!("{field}[{i}].name"));
        } else {
            faults.note(format!("{field}[{i}].name"), not_a_label(name));
        }
        match Port::new(port.port) {
            Some(number) => parsed.push((name.into(), number)),
            None => faults.note(format!("{field}[{i}].port"), NOT_A_PORT),
        }
    }
    parsed.into()
}

/// An address' own ports are all known; a Service's are not before it is there.
pub(super) fn all_led_to(frontend: &Frontend, ports: &Ports, field: &str, faults: &mut Faults) {
    let Frontend::Address { ports: wanted, .. } = frontend else {
        return;
    };
    let lacks = |name: &Arc<str>| ports.iter().all(|(known, _)| known != name);
    if let Some(port) = wanted.iter().find(|port| lacks(&port.name)) {
        faults.note(field, format!("none for {:?}: {PORTS_LED_TO}", port.name));
    }
}
