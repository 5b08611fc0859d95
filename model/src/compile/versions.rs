//! The backends of a version: a Service's endpoints, for one port and family.

use std::sync::Arc;

use super::hints;
use crate::{
    desired::{Backend, PortId},
    facts::{
        endpoints::{Endpoint, Hints, State},
        service::{Exposure, Fact, Reach, ServicePortFact},
    },
    finding::Reason,
    index::Snapshot,
    key::{Family, Port, ServiceKey},
};

/// Backends, and whether they are draining ones because nothing is ready.
pub(super) type Endpoints = (Arc<[Backend]>, bool);

/// For what a version needs endpoints.
#[derive(Clone, Copy)]
pub(super) struct Needed<'a> {
    /// The port of the split's Service.
    pub(super) port: &'a ServicePortFact,
    pub(super) id: PortId,
    /// Whether it matters how many are ready in the whole cluster.
    pub(super) counted: bool,
}

/// What a version gets from its lender.
#[derive(Default)]
pub(super) struct Lent {
    pub(super) endpoints: Endpoints,
    /// How many are ready in the whole cluster, where that matters.
    pub(super) capacity: u32,
    /// What is wrong.
    pub(super) problem: Option<(Reason, String)>,
    /// Nobody has looked for its endpoints yet, so that there are none says nothing.
    pub(super) awaited: bool,
}

/// The endpoints that a version's Service lends to the split Service's port.
pub(super) fn lent(snapshot: Snapshot<'_>, lender: &ServiceKey, needed: Needed<'_>) -> Lent {
    let port = needed.port;
    let Some(fact) = snapshot.service(lender) else {
        let detail = format!("there is no Service {lender}");
        return Lent::nothing(Reason::ServiceNotFound, detail);
    };
    if fact.exposure == Exposure::ExternalName {
        let detail = format!("Service {lender} is an ExternalName: it has no endpoints");
        return Lent::nothing(Reason::ServiceIsExternalName, detail);
    }
    match matching(fact, port) {
        Some(own) => Lent::of(snapshot, lender, own, needed),
        None => {
            let detail = format!(
                "no {} port of Service {lender} is named {:?} or numbered {}, and it has not just one",
                port.protocol, &*port.name, port.number
            );
            Lent::nothing(Reason::PortNotFound, detail)
        }
    }
}

impl Lent {
    /// What this port of a Service has.
    pub(super) fn of(
        snapshot: Snapshot<'_>,
        lender: &ServiceKey,
        port: &ServicePortFact,
        needed: Needed<'_>,
    ) -> Self {
        let Needed { id, counted, .. } = needed;
        Self {
            endpoints: endpoints(snapshot, lender, port, id),
            capacity: if counted {
                capacity(snapshot, lender, port, id.family)
            } else {
                0
            },
            ..Self::default()
        }
    }

    pub(super) fn nothing(reason: Reason, detail: String) -> Self {
        Self {
            problem: Some((reason, detail)),
            ..Self::default()
        }
    }
}

/// By name, else by number, else the only one; always of the same protocol.
fn matching<'a>(fact: &'a Fact, port: &ServicePortFact) -> Option<&'a ServicePortFact> {
    let candidates = || fact.ports.iter().filter(|p| p.protocol == port.protocol);
    candidates()
        .find(|p| p.name == port.name)
        .or_else(|| candidates().find(|p| p.number == port.number))
        .or_else(|| {
            let mut all = candidates();
            all.next().filter(|_| all.next().is_none())
        })
}

/// The endpoints of a Service's port that callers reach: the ready ones, by their hints where
/// those can be kept; else the ones that still serve while they terminate.
pub(super) fn endpoints(
    snapshot: Snapshot<'_>,
    service: &ServiceKey,
    port: &ServicePortFact,
    id: PortId,
) -> Endpoints {
    let of_state = |state| {
        let all = candidates(snapshot, service, port, id.family);
        all.filter(move |candidate| {
            let here = || snapshot.is_near(candidate.endpoint.node);
            candidate.endpoint.state == state && (id.reach == Reach::Cluster || here())
        })
    };
    let ready = || of_state(State::Ready);
    let level = match id.reach {
        Reach::Cluster => hints::level(snapshot, ready().map(|candidate| candidate.hints)),
        Reach::Local => hints::Level::Cluster,
    };
    let ready = ordered(ready().filter(|candidate| level.admits(snapshot, candidate.hints)));
    if !ready.is_empty() {
        return (ready.into(), false);
    }
    let draining = ordered(of_state(State::Draining));
    let any = !draining.is_empty();
    (draining.into(), any)
}

/// How many endpoints are ready, whoever may use them.
fn capacity(
    snapshot: Snapshot<'_>,
    service: &ServiceKey,
    port: &ServicePortFact,
    family: Family,
) -> u32 {
    let all = candidates(snapshot, service, port, family);
    let ready = ordered(all.filter(|candidate| candidate.endpoint.state == State::Ready));
    u32::try_from(ready.len()).unwrap_or(u32::MAX)
}

struct Candidate<'a> {
    endpoint: &'a Endpoint,
    port: Port,
    hints: Option<&'a Hints>,
}

fn candidates<'a>(
    snapshot: Snapshot<'a>,
    service: &ServiceKey,
    port: &'a ServicePortFact,
    family: Family,
) -> impl Iterator<Item = Candidate<'a>> {
    let slices = snapshot.slices_of(service);
    let slices = slices.filter(move |slice| slice.family == family);
    slices.flat_map(|slice| {
        let mut ports = slice.ports.iter();
        let own = ports.find(|p| p.name == port.name && p.protocol == port.protocol);
        own.into_iter().flat_map(|own| {
            slice.endpoints().map(|(endpoint, hints)| Candidate {
                endpoint,
                port: own.number,
                hints,
            })
        })
    })
}

fn ordered<'a>(candidates: impl Iterator<Item = Candidate<'a>>) -> Vec<Backend> {
    let backends = candidates.map(|candidate| Backend {
        ip: candidate.endpoint.ip,
        port: candidate.port,
    });
    let mut backends: Vec<Backend> = backends.collect();
    backends.sort_unstable();
    backends.dedup();
    backends
}
