//! The addresses that a Service's port answers at.
//!
//! An address, port and protocol belongs to one Service. Where two claim it, which only objects
//! stored past Kubernetes' own checks can do, the older one has it, then the first by name.

use crate::{
    facts::service::{Fact, ServicePortFact},
    finding::{Finding, Reason},
    index::Snapshot,
    key::{Family, Frontend, ServiceKey},
};

pub(super) fn of(
    snapshot: Snapshot<'_>,
    key: &ServiceKey,
    fact: &Fact,
    port: &ServicePortFact,
    family: Family,
    findings: &mut Vec<Finding>,
) -> Vec<Frontend> {
    let mut frontends = Vec::new();
    for &ip in fact.addresses() {
        if Family::of(ip) != family {
            continue;
        }
        let frontend = Frontend {
            ip,
            port: port.number,
            protocol: port.protocol,
        };
        match owner(snapshot, frontend) {
            Some(owner) if owner != key => {
                let detail = format!("{frontend} belongs to Service {owner}, which comes first");
                findings.push(Finding::new(key.clone(), Reason::Conflicted, detail));
            }
            _ => frontends.push(frontend),
        }
    }
    frontends.sort_unstable();
    frontends
}

fn owner(snapshot: Snapshot<'_>, frontend: Frontend) -> Option<&ServiceKey> {
    snapshot
        .claimants(frontend.ip)
        .filter(|(_, fact)| {
            let mut ports = fact.ports.iter();
            ports.any(|port| (port.number, port.protocol) == (frontend.port, frontend.protocol))
        })
        .min_by_key(|(key, fact)| (fact.created, *key))
        .map(|(key, _)| key)
}
