//! The backends of a version: a Service's endpoints, for one port and family.

use std::sync::Arc;

use crate::{
    desired::Backend,
    facts::{
        endpoints::State,
        service::{Exposure, Fact, ServicePortFact},
    },
    finding::Reason,
    index::Snapshot,
    key::{Family, ServiceKey},
};

/// Backends, and whether they are draining ones because nothing is ready.
pub(super) type Endpoints = (Arc<[Backend]>, bool);

/// The endpoints that a version's Service lends to the split Service's port.
pub(super) fn lent(
    snapshot: Snapshot<'_>,
    lender: &ServiceKey,
    port: &ServicePortFact,
    family: Family,
) -> Result<Endpoints, (Reason, String)> {
    let Some(fact) = snapshot.service(lender) else {
        let detail = format!("there is no Service {lender}");
        return Err((Reason::ServiceNotFound, detail));
    };
    if fact.exposure == Exposure::ExternalName {
        let detail = format!("Service {lender} is an ExternalName: it has no endpoints");
        return Err((Reason::ServiceIsExternalName, detail));
    }
    match matching(fact, port) {
        Some(own) => Ok(endpoints(snapshot, lender, own, family)),
        None => {
            let detail = format!(
                "no {} port of Service {lender} is named {:?} or numbered {}, and it has not just one",
                port.protocol, &*port.name, port.number
            );
            Err((Reason::PortNotFound, detail))
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

/// The ready endpoints of a Service's port; those that drain when none is ready.
pub(super) fn endpoints(
    snapshot: Snapshot<'_>,
    service: &ServiceKey,
    port: &ServicePortFact,
    family: Family,
) -> Endpoints {
    let ready = in_state(snapshot, service, port, family, State::Ready);
    if !ready.is_empty() {
        return (ready.into(), false);
    }
    let draining = in_state(snapshot, service, port, family, State::Draining);
    let any = !draining.is_empty();
    (draining.into(), any)
}

fn in_state(
    snapshot: Snapshot<'_>,
    service: &ServiceKey,
    port: &ServicePortFact,
    family: Family,
    state: State,
) -> Vec<Backend> {
    let mut backends = Vec::new();
    for slice in snapshot.slices_of(service) {
        if slice.family != family {
            continue;
        }
        let mut ports = slice.ports.iter();
        let own = ports.find(|p| p.name == port.name && p.protocol == port.protocol);
        let Some(own) = own else { continue };
        let endpoints = slice.endpoints.iter();
        backends.extend(endpoints.filter(|e| e.state == state).map(|e| Backend {
            ip: e.ip,
            port: own.number,
        }));
    }
    backends.sort_unstable();
    backends.dedup();
    backends
}
