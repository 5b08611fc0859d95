//! Policies that claim a frontend for themselves, redirects and balancing policies: who has it.
//!
//! An address takes a grant, and some are out of reach whatever was granted. Among those that compete
//! the rule of `ownership` decides: those of one kind, and of any kind across namespaces. Agents cannot
//! program these kinds yet, so an accepted one is told that, and changes nothing.

mod addresses;
mod backends;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    frontends,
    ownership::{self, Named, Owners},
    why_unsplittable,
};
use crate::{
    facts::{
        balancing::Backends,
        frontend::Frontend as Wanted,
        redirect::Ports,
        service::{Exposure, Fact},
    },
    finding::{Finding, Reason},
    index::{ClaimKey, Snapshot},
    key::{Frontend, Subject},
};

/// What was found about each claim.
pub type Findings = BTreeMap<ClaimKey, Vec<Finding>>;

/// What one policy claims, and what is wrong with that beside its rivals.
struct Claimed {
    frontends: Vec<Frontend>,
    findings: Vec<Finding>,
}

/// Judges these claims and everybody's that they compete with, over however many others.
pub fn judge(snapshot: Snapshot<'_>, touched: impl IntoIterator<Item = ClaimKey>) -> Findings {
    let contest = contest(snapshot, touched);
    let mut found = Findings::new();
    let mut claimants = Vec::new();
    for key in &contest {
        let Some((wanted, created)) = snapshot.claim(key) else {
            continue;
        };
        let Claimed {
            frontends,
            findings,
        } = claimed(snapshot, key, wanted);
        found.insert(key.clone(), findings);
        claimants.push((created, (key.name(), key), key, frontends));
    }
    let (_, losers) = Owners::decide(claimants, ClaimKey::competes_with);
    for (loser, winner) in losers {
        if let Some((wanted, _)) = snapshot.claim(loser) {
            let findings = found.entry(loser.clone()).or_default();
            findings.push(conflict(loser, wanted, winner));
        }
    }
    for (key, findings) in &mut found {
        if !findings.iter().any(Finding::refuses) {
            findings.push(missing(key));
        }
        findings.sort_unstable();
        findings.dedup();
    }
    found
}

/// These, their rivals, the rivals of those, and so on.
fn contest(
    snapshot: Snapshot<'_>,
    touched: impl IntoIterator<Item = ClaimKey>,
) -> BTreeSet<ClaimKey> {
    let mut contest: BTreeSet<ClaimKey> = touched.into_iter().collect();
    let mut waiting: Vec<ClaimKey> = contest.iter().cloned().collect();
    let mut met = BTreeSet::new();
    while let Some(key) = waiting.pop() {
        let Some((wanted, _)) = snapshot.claim(&key) else {
            continue;
        };
        // Who names the same meets the same.
        if !met.insert((wanted.service(), wanted.ip())) {
            continue;
        }
        for rival in snapshot.rivals(wanted) {
            if contest.insert(rival.clone()) {
                waiting.push(rival.clone());
            }
        }
    }
    contest
}

fn claimed(snapshot: Snapshot<'_>, key: &ClaimKey, wanted: &Wanted) -> Claimed {
    let subject = Subject::from(key.clone());
    let mut findings = Vec::new();
    let frontends = match wanted {
        Wanted::Service { service, ports } => {
            let named = Named {
                subject,
                service,
                ports,
                field: "spec.frontend.service.ports",
            };
            of_service(snapshot, key, &named, &mut findings)
        }
        Wanted::Address { ip, ports } => {
            let refusal = addresses::refusal(snapshot, key.name(), *ip, ports);
            match refusal {
                None => {
                    let ports = ports.iter().map(|port| Frontend {
                        ip: *ip,
                        port: port.number,
                        protocol: port.protocol,
                    });
                    ports.collect()
                }
                Some((reason, field, detail)) => {
                    findings.push(Finding::new(subject, reason, detail).at(field));
                    Vec::new()
                }
            }
        }
    };
    if let ClaimKey::Balancing(own) = key
        && let Some(policy) = snapshot.balancing(own)
    {
        findings.extend(backends::reserved(snapshot, &key.clone().into(), policy));
    }
    // What is not accepted acts on nothing, and keeps nobody else from it.
    let frontends = match findings.iter().any(Finding::refuses) {
        true => Vec::new(),
        false => frontends,
    };
    Claimed {
        frontends,
        findings,
    }
}

fn of_service(
    snapshot: Snapshot<'_>,
    key: &ClaimKey,
    named: &Named<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<Frontend> {
    let service = named.service;
    let field = "spec.frontend.service.name";
    if service.is_api_server() {
        findings.push(ownership::api_server(named.subject.clone(), service).at(field));
        return Vec::new();
    }
    let exposed = |fact: &&Fact| matches!(fact.exposure, Exposure::Cluster(_));
    let Some(fact) = snapshot.service(service).filter(exposed) else {
        let (reason, detail) = why_unsplittable(service, snapshot.service(service));
        findings.push(Finding::new(named.subject.clone(), reason, detail).at(field));
        return Vec::new();
    };
    let ports = named.ports_of(fact, findings);
    for (field, known) in backend_ports(snapshot, key) {
        let led_to = |name: &str| known.iter().any(|(known, _)| **known == *name);
        for port in &ports {
            let number = port.number.to_string();
            let name = if port.name.is_empty() {
                &number
            } else {
                &*port.name
            };
            if !led_to(name) {
                let detail = format!("port {name:?} of Service {service} leads nowhere");
                let finding = Finding::new(named.subject.clone(), Reason::PortNotFound, detail);
                findings.push(finding.at(field.as_str()));
            }
        }
    }
    let owned = |port| frontends::owned(snapshot, service, fact, port);
    ports.into_iter().flat_map(owned).collect()
}

/// Where each list of backends' ports stands, and what is in it.
fn backend_ports<'a>(snapshot: Snapshot<'a>, key: &ClaimKey) -> Vec<(String, &'a Ports)> {
    match key {
        ClaimKey::Redirect(key) => {
            let fact = snapshot.redirect(key);
            let field = || "spec.backend.ports".to_owned();
            fact.into_iter()
                .map(|fact| (field(), &fact.ports))
                .collect()
        }
        ClaimKey::Balancing(key) => {
            let groups = snapshot.balancing(key).map_or(&[][..], |fact| &fact.groups);
            let groups = groups.iter().enumerate();
            let listed = groups.filter_map(|(i, group)| match &group.backends {
                Backends::Pods { ports, .. } => {
                    Some((format!("spec.backends[{i}].pods.ports"), ports))
                }
                Backends::Addresses { .. } => None,
            });
            listed.collect()
        }
    }
}

fn conflict(loser: &ClaimKey, wanted: &Wanted, winner: &ClaimKey) -> Finding {
    let winner = Subject::from(winner.clone());
    let detail = format!("{winner} comes first and has some of the same");
    let field = match wanted {
        Wanted::Service { ports, .. } if ports.is_empty() => "spec.frontend.service.name",
        Wanted::Service { .. } => "spec.frontend.service.ports",
        Wanted::Address { .. } => "spec.frontend.address",
    };
    Finding::new(loser.clone(), Reason::Conflicted, detail).at(field)
}

fn missing(key: &ClaimKey) -> Finding {
    let subject = Subject::from(key.clone());
    let detail = format!(
        "agents cannot program a {} yet; it changes nothing",
        subject.kind
    );
    Finding::new(subject, Reason::FeatureMissing, detail).at("spec")
}
