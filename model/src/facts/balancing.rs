//! BalancingPolicy: groups of backends behind a frontend. Any fault leaves no fact.

mod check;
mod groups;

use sluice_crds::{
    BalancingPolicy,
    balancing::{BalancingPolicySpec, Hosts},
    choice::{Selection, WhenUnavailable},
};

use super::{
    Parsed,
    faults::Faults,
    frontend::{self, Frontend},
    origin::Origin,
    selector::{self, Selector},
    service::Balancing,
};
use crate::key::BalancingKey;

pub use check::{Check, Probe};
pub use groups::{Address, Backends, Group};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub origin: Origin,
    pub frontend: Frontend,
    pub groups: Box<[Group]>,
    pub selection: Selection,
    pub balancing: Balancing,
    pub when_unavailable: WhenUnavailable,
    pub hosts: Hosts,
    /// `None` is every node.
    pub nodes: Option<Selector>,
}

impl Fact {
    /// The backends that are addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.groups.iter().flat_map(Group::addresses)
    }
}

pub fn parse(key: &BalancingKey, object: &BalancingPolicy) -> Parsed<Fact> {
    let BalancingPolicySpec {
        frontend,
        backends,
        selection,
        balancing,
        when_unavailable,
        hosts,
        nodes,
    } = &object.spec;
    let mut faults = Faults::of(key.clone());
    let frontend = frontend::parse(&key.0, frontend, &mut faults);
    let groups = groups::parse(backends, &mut faults);
    let nodes = nodes
        .as_ref()
        .map(|nodes| selector::parse(nodes, "spec.nodes", &mut faults));
    let fact = frontend.filter(|_| faults.is_empty()).map(|frontend| Fact {
        origin: Origin::of(&object.metadata),
        frontend,
        groups,
        selection: *selection,
        balancing: (*balancing).into(),
        when_unavailable: *when_unavailable,
        hosts: *hosts,
        nodes,
    });
    let findings = faults.into_findings();
    Parsed { fact, findings }
}
