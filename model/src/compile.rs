//! The index, compiled: for each Service what the dataplane shall do, and what is wrong.
//!
//! Compiling is total, depends on the facts alone, and looks only at what one Service can reach;
//! so a change compiles the Services that it touched, and compiling all of them is the same thing
//! many times. Precedence: a split, then the Service itself.

pub mod claims;
mod features;
mod frontends;
mod groups;
mod hints;
mod ownership;
pub mod places;
mod versions;

use std::{collections::BTreeMap, sync::Arc};

use sluice_crds::split::{Selection, WhenUnavailable};

use versions::Needed;

use crate::{
    desired::{Class, Owner, Port, PortId, Service, Version},
    facts::{
        service::{Balancing, Exposure, Fact, ServicePortFact},
        split::{self, Source, Weight},
    },
    finding::{Finding, Reason},
    index::Snapshot,
    key::{Family, ServiceKey, SplitKey},
};

/// What one Service compiles to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// `None` when it has no frontend of ours: connects to it are left alone.
    pub service: Option<Arc<Service>>,
    /// About the Service and about the splits on it, ordered.
    pub findings: Vec<Finding>,
}

/// Compiles every Service that there is or that a split stands on.
pub fn all(snapshot: Snapshot<'_>) -> BTreeMap<ServiceKey, Compiled> {
    let services = snapshot.services().into_iter();
    services
        .map(|key| (key.clone(), service(snapshot, key)))
        .collect()
}

/// Compiles one Service.
pub fn service(snapshot: Snapshot<'_>, key: &ServiceKey) -> Compiled {
    let mut findings = Vec::new();
    let service = match snapshot.service(key) {
        Some(fact) if matches!(fact.exposure, Exposure::Cluster(_)) => {
            exposed(snapshot, key, fact, &mut findings)
        }
        fact => {
            let (reason, detail) = why_unsplittable(key, fact);
            for (split, _) in snapshot.splits_on(key) {
                findings
                    .push(Finding::new(split.clone(), reason, detail.clone()).at("spec.service"));
            }
            None
        }
    };
    findings.sort_unstable();
    findings.dedup();
    Compiled { service, findings }
}

fn exposed(
    snapshot: Snapshot<'_>,
    key: &ServiceKey,
    fact: &Fact,
    findings: &mut Vec<Finding>,
) -> Option<Arc<Service>> {
    let owners = ownership::splits(snapshot, key, fact, findings);
    let mut ports = Vec::with_capacity(fact.ports.len());
    for port in &fact.ports {
        for family in Family::ALL {
            let frontends = frontends::of(snapshot, key, fact, port, family, findings);
            for (reach, frontends) in frontends.by_reach(fact.traffic.internal) {
                let id = PortId {
                    number: port.number,
                    protocol: port.protocol,
                    family,
                    reach,
                };
                let rule = match owners.of(&ownership::claim(port)) {
                    Some(split) => split_rule(snapshot, split, fact, port, id, findings),
                    None => None,
                };
                let rule = rule.unwrap_or_else(|| own_rule(snapshot, key, port, id));
                ports.push(Port {
                    id,
                    name: Arc::clone(&port.name),
                    frontends,
                    on_nodes: fact.traffic.external,
                    affinity: fact.traffic.affinity,
                    balancing: rule.balancing.unwrap_or(fact.traffic.balancing),
                    owner: rule.owner,
                    selection: rule.selection,
                    when_unavailable: rule.when_unavailable,
                    versions: rule.versions,
                    classes: rule.classes,
                });
            }
        }
    }
    ports.sort_by_key(|port| port.id);
    (!ports.is_empty()).then(|| Arc::new(Service { ports }))
}

/// What decides on a port.
struct Rule {
    owner: Owner,
    selection: Selection,
    /// As the Service says where there is none.
    balancing: Option<Balancing>,
    when_unavailable: WhenUnavailable,
    versions: Vec<Version>,
    classes: Vec<Class>,
}

/// A plain Service is one version of itself.
fn own_rule(snapshot: Snapshot<'_>, key: &ServiceKey, port: &ServicePortFact, id: PortId) -> Rule {
    let (backends, draining) = versions::endpoints(snapshot, key, port, id);
    Rule {
        owner: Owner::Service,
        selection: Selection::Sequence,
        balancing: None,
        when_unavailable: WhenUnavailable::Redistribute,
        versions: vec![Version {
            name: key.0.name().into(),
            service: key.clone(),
            weight: Weight::ONE,
            backends,
            draining,
            awaited: false,
            capacity: None,
        }],
        classes: Vec::new(),
    }
}

/// `None` when the split asks for what cannot be done yet, or when all that it could choose is still awaited.
/// Then the Service serves as if there were no split: it acts as a whole or not, and a version without
/// backends would refuse its share.
fn split_rule(
    snapshot: Snapshot<'_>,
    (owner, split): (&SplitKey, &split::Fact),
    fact: &Fact,
    port: &ServicePortFact,
    id: PortId,
    findings: &mut Vec<Finding>,
) -> Option<Rule> {
    let missing = features::missing(owner, split);
    if !missing.is_empty() {
        findings.extend(missing);
        return None;
    }
    let counted = split.caps_by_readiness();
    let needed = Needed { port, id, counted };
    let mut versions = Vec::with_capacity(split.versions.len());
    for (i, version) in split.versions.iter().enumerate() {
        let lent = match &version.source {
            Source::Service(lender) => versions::lent(snapshot, lender, needed),
            Source::Pods(group) => groups::lent(snapshot, owner, fact, group, needed),
        };
        if let Some((reason, detail)) = lent.problem {
            let field = format!("spec.versions[{i}].{}", version.source.field());
            findings.push(Finding::new(owner.clone(), reason, detail).at(field));
        }
        let (backends, draining) = lent.endpoints;
        versions.push(Version {
            name: Arc::clone(&version.name),
            service: version.lender().clone(),
            weight: version.weight,
            backends,
            draining,
            awaited: lent.awaited,
            capacity: counted.then_some(lent.capacity),
        });
    }
    let awaited = versions.iter().any(|version| version.awaited);
    if awaited && !versions.iter().any(Version::takes_connects) {
        return None;
    }
    let classes = split.callers.iter();
    let classes = classes.map(|class| class_of(class, &versions)).collect();
    Some(Rule {
        owner: Owner::Split(owner.clone()),
        selection: split.selection,
        balancing: split.balancing,
        when_unavailable: split.when_unavailable,
        versions,
        classes,
    })
}

/// A version that the class does not name gets nothing from it.
fn class_of(class: &split::CallerClass, versions: &[Version]) -> Class {
    let weight_of = |version: &Version| {
        let mut weights = class.weights.iter();
        let named = weights.find(|(name, _)| *name == version.name);
        named.map_or(Weight::ZERO, |(_, weight)| *weight)
    };
    Class {
        name: Arc::clone(&class.name),
        weights: versions.iter().map(weight_of).collect(),
    }
}

fn why_unsplittable(key: &ServiceKey, fact: Option<&Fact>) -> (Reason, String) {
    let Some(fact) = fact else {
        let detail = format!("there is no Service {key}");
        return (Reason::ServiceNotFound, detail);
    };
    match &fact.exposure {
        Exposure::Headless => (
            Reason::ServiceHasNoClusterIP,
            format!("Service {key} is headless: callers address its pods"),
        ),
        Exposure::Pending | Exposure::Cluster(_) => (
            Reason::ServiceHasNoClusterIP,
            format!("Service {key} has no cluster IP yet"),
        ),
        Exposure::ExternalName => (
            Reason::ServiceIsExternalName,
            format!("Service {key} is an ExternalName: it has no address"),
        ),
        Exposure::LeftAlone => (
            Reason::ServiceLeftAlone,
            format!("Service {key} is served by somebody else"),
        ),
    }
}
