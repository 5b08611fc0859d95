//! Which policy of a kind owns what: the one rule, for webhook, operator and agent alike.
//!
//! The oldest comes first, then the first by name. A policy whose claims are all free takes them; one
//! that would have to share any of them with a competitor acts on none, carries `Conflicted`, and takes
//! over when the winner goes. So *accepted* means *acts on everything that it names*.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    facts::{
        service::{Fact, ServicePortFact},
        split,
    },
    finding::{Finding, Reason},
    index::Snapshot,
    key::{Created, Port, Protocol, ServiceKey, SplitKey, Subject},
};

/// What is claimed, and by whom it is owned; by more than one where these do not compete.
pub(super) struct Owners<C, O>(BTreeMap<C, Vec<O>>);

impl<C: Ord, O: Copy> Owners<C, O> {
    /// Whom each claim belongs to, and for each claimant that got nothing the one that it lost to.
    pub(super) fn decide<K: Ord>(
        mut claimants: Vec<(Created, K, O, Vec<C>)>,
        compete: impl Fn(O, O) -> bool,
    ) -> (Self, Vec<(O, O)>) {
        claimants
            .sort_by(|(created, key, ..), (other, name, ..)| (created, key).cmp(&(other, name)));
        let mut owners: BTreeMap<C, Vec<O>> = BTreeMap::new();
        let mut losers = Vec::new();
        for (_, _, claimant, claims) in claimants {
            let mut taken = claims
                .iter()
                .filter_map(|claim| owners.get(claim))
                .flatten();
            match taken.find(|owner| compete(claimant, **owner)).copied() {
                Some(winner) => losers.push((claimant, winner)),
                None => {
                    for claim in claims {
                        let owners = owners.entry(claim);
                        owners
                            .or_insert_with(|| Vec::with_capacity(1))
                            .push(claimant);
                    }
                }
            }
        }
        (Self(owners), losers)
    }

    pub(super) fn of(&self, claim: &C) -> Option<O> {
        self.0.get(claim)?.first().copied()
    }
}

type Split<'a> = (&'a SplitKey, &'a split::Fact);

/// The splits that decide on ports of this Service.
pub(super) fn splits<'a>(
    snapshot: Snapshot<'a>,
    service: &ServiceKey,
    fact: &'a Fact,
    findings: &mut Vec<Finding>,
) -> Owners<PortClaim, Split<'a>> {
    if service.is_api_server() {
        let refused = snapshot.splits_on(service);
        let refused = refused.map(|(key, _)| api_server(key.clone().into(), service));
        findings.extend(refused.map(|finding| finding.at("spec.service")));
        return Owners(BTreeMap::new());
    }
    let claimants = snapshot.splits_on(service).map(|(key, split)| {
        let named = Named {
            subject: key.clone().into(),
            service,
            ports: &split.ports,
            field: "spec.ports",
        };
        let claims = named.ports_of(fact, findings).into_iter().map(claim);
        (split.origin.created, key, (key, split), claims.collect())
    });
    let (owners, losers) = Owners::decide(claimants.collect(), |_, _| true);
    for ((loser, split), (winner, _)) in losers {
        let detail = format!("TrafficSplit {winner} comes first and has the same ports");
        let finding = Finding::new(loser.clone(), Reason::Conflicted, detail);
        // What has to be changed: the claim on all ports is made by naming the Service.
        let claim = if split.ports.is_empty() {
            "spec.service"
        } else {
            "spec.ports"
        };
        findings.push(finding.at(claim));
    }
    owners
}

/// Who decides there decides about everybody's way to the API server.
pub(super) fn api_server(subject: Subject, service: &ServiceKey) -> Finding {
    let detail = format!("Service {service} is the API server's, and nobody's to claim");
    Finding::new(subject, Reason::AddressReserved, detail)
}

/// A port of one Service.
pub(super) type PortClaim = (Port, Protocol);

pub(super) fn claim(port: &ServicePortFact) -> PortClaim {
    (port.number, port.protocol)
}

/// What a policy names of a Service.
pub(super) struct Named<'a> {
    pub(super) subject: Subject,
    pub(super) service: &'a ServiceKey,
    /// By name or by number; all of them if there are none.
    pub(super) ports: &'a [Arc<str>],
    pub(super) field: &'a str,
}

impl Named<'_> {
    pub(super) fn ports_of<'a>(
        &self,
        fact: &'a Fact,
        findings: &mut Vec<Finding>,
    ) -> Vec<&'a ServicePortFact> {
        if self.ports.is_empty() {
            return fact.ports.iter().collect();
        }
        let mut ports = Vec::new();
        for (i, wanted) in self.ports.iter().enumerate() {
            let named = |port: &&ServicePortFact| port.name == *wanted;
            let numbered = |port: &&ServicePortFact| port.number.to_string() == **wanted;
            let before = ports.len();
            ports.extend(fact.ports.iter().filter(named));
            if ports.len() == before {
                ports.extend(fact.ports.iter().filter(numbered));
            }
            if ports.len() == before {
                let detail = format!("Service {} has no port {wanted:?}", self.service);
                let finding = Finding::new(self.subject.clone(), Reason::PortNotFound, detail);
                findings.push(finding.at(format!("{}[{i}]", self.field)));
            }
        }
        ports
    }
}
