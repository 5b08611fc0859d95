//! Which split decides on which port of a Service.
//!
//! The oldest comes first, then the first by name. A split whose ports are all free takes them; one
//! that would have to share any of them acts on none, carries `Conflicted`, and takes over when the
//! winner goes. So *accepted* means *acts on everything that it names*.

use crate::{
    facts::{
        service::{Fact, ServicePortFact},
        split,
    },
    finding::{Finding, Reason},
    index::Snapshot,
    key::{ServiceKey, SplitKey},
};

/// The accepted splits with the ports that each of them owns.
pub(super) struct Owners<'a> {
    accepted: Vec<(&'a SplitKey, &'a split::Fact, Vec<&'a ServicePortFact>)>,
}

impl<'a> Owners<'a> {
    pub(super) fn of(&self, port: &ServicePortFact) -> Option<(&'a SplitKey, &'a split::Fact)> {
        let mut accepted = self.accepted.iter();
        let owner = accepted.find(|(_, _, ports)| ports.contains(&port));
        owner.map(|(key, split, _)| (*key, *split))
    }
}

pub(super) fn resolve<'a>(
    snapshot: Snapshot<'a>,
    service: &ServiceKey,
    fact: &'a Fact,
    findings: &mut Vec<Finding>,
) -> Owners<'a> {
    let mut splits: Vec<_> = snapshot.splits_on(service).collect();
    splits.sort_by_key(|(key, split)| (split.created, *key));
    let mut owners = Owners {
        accepted: Vec::new(),
    };
    for (key, split) in splits {
        let ports = ports_of(key, split, service, fact, findings);
        let winner = ports.iter().find_map(|port| owners.of(port));
        match winner {
            Some((winner, _)) => {
                let detail = format!("TrafficSplit {winner} comes first and has the same ports");
                let finding = Finding::new(key.clone(), Reason::Conflicted, detail);
                // What has to be changed: the claim on all ports is made by naming the Service.
                let claim = if split.ports.is_empty() {
                    "spec.service"
                } else {
                    "spec.ports"
                };
                findings.push(finding.at(claim));
            }
            None => owners.accepted.push((key, split, ports)),
        }
    }
    owners
}

fn ports_of<'a>(
    key: &SplitKey,
    split: &split::Fact,
    service: &ServiceKey,
    fact: &'a Fact,
    findings: &mut Vec<Finding>,
) -> Vec<&'a ServicePortFact> {
    if split.ports.is_empty() {
        return fact.ports.iter().collect();
    }
    let mut ports = Vec::new();
    for (i, wanted) in split.ports.iter().enumerate() {
        let named = |port: &&ServicePortFact| port.name == *wanted;
        let numbered = |port: &&ServicePortFact| port.number.to_string() == **wanted;
        let before = ports.len();
        ports.extend(fact.ports.iter().filter(named));
        if ports.len() == before {
            ports.extend(fact.ports.iter().filter(numbered));
        }
        if ports.len() == before {
            let detail = format!("Service {service} has no port {wanted:?}");
            let finding = Finding::new(key.clone(), Reason::PortNotFound, detail);
            findings.push(finding.at(format!("spec.ports[{i}]")));
        }
    }
    ports
}
