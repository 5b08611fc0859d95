//! TrafficSplit: versions and weights. Any fault leaves no fact: a split acts as a whole or not.

use std::{collections::BTreeSet, sync::Arc};

use sluice_crds::{
    TrafficSplit, TrafficSplitSpec,
    split::{MAX_PORTS, MAX_VERSIONS, MAX_WEIGHT, Selection, WhenUnavailable},
};

use super::Parsed;
use crate::{
    finding::{Finding, Reason},
    key::{Created, ServiceKey, SplitKey, is_label},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// One that was deleted and made again is another. Manifests in files have none.
    pub uid: Option<Arc<str>>,
    pub created: Created,
    pub generation: Option<i64>,
    pub service: ServiceKey,
    /// Names or numbers of the Service's ports; empty for all.
    pub ports: Vec<Arc<str>>,
    pub versions: Vec<Version>,
    pub selection: Selection,
    pub when_unavailable: WhenUnavailable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub name: Arc<str>,
    pub service: ServiceKey,
    pub weight: Weight,
}

/// A version's weight in relation to the others: 0 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    pub const ONE: Self = Self(1);

    pub fn parse(weight: u32) -> Option<Self> {
        (weight <= MAX_WEIGHT).then_some(Self(weight))
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

pub fn parse(key: &SplitKey, object: &TrafficSplit) -> Parsed<Fact> {
    let TrafficSplitSpec {
        service,
        ports,
        versions,
        selection,
        when_unavailable,
    } = &object.spec;
    let mut findings = Vec::new();
    let mut note = |field: String, detail: String| {
        findings.push(Finding::new(key.clone(), Reason::Invalid, detail).at(field));
    };
    let named_service = |name: &str, field: &str, note: &mut dyn FnMut(String, String)| {
        let service = is_service(name).then(|| key.0.sibling(name)).flatten();
        if service.is_none() {
            note(
                field.to_owned(),
                format!("{name:?} is not a name of a Service"),
            );
        }
        service.map(ServiceKey)
    };
    let service = named_service(service, "spec.service", &mut note);
    parse_ports(ports, &mut note);
    if versions.is_empty() || versions.len() > MAX_VERSIONS {
        let detail = format!("there are {}; 1 to {MAX_VERSIONS} can be", versions.len());
        note("spec.versions".to_owned(), detail);
    } else if versions.iter().all(|version| version.weight == 0) {
        let detail = "at least one version needs a weight above 0".to_owned();
        note("spec.versions".to_owned(), detail);
    }
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::new();
    for (i, version) in versions.iter().enumerate() {
        let field = format!("spec.versions[{i}]");
        let name = &version.name;
        if !is_label(name) {
            note(
                format!("{field}.name"),
                format!("{name:?} is not a DNS label"),
            );
        } else if !seen.insert(name) {
            note(format!("{field}.name"), format!("{name:?} is there twice"));
        }
        let weight = Weight::parse(version.weight);
        if weight.is_none() {
            let detail = format!("{} is above {MAX_WEIGHT}", version.weight);
            note(format!("{field}.weight"), detail);
        }
        let service = named_service(&version.service, &format!("{field}.service"), &mut note);
        if let (Some(weight), Some(service)) = (weight, service) {
            parsed.push(Version {
                name: name.as_str().into(),
                service,
                weight,
            });
        }
    }
    let fact = service.filter(|_| findings.is_empty()).map(|service| Fact {
        uid: object.metadata.uid.as_deref().map(Into::into),
        created: Created::of(&object.metadata),
        generation: object.metadata.generation,
        service,
        ports: ports.iter().map(|port| port.as_str().into()).collect(),
        versions: parsed,
        selection: *selection,
        when_unavailable: *when_unavailable,
    });
    Parsed { fact, findings }
}

fn parse_ports(ports: &[String], note: &mut impl FnMut(String, String)) {
    if ports.len() > MAX_PORTS {
        let detail = format!("there are {}; at most {MAX_PORTS} can be", ports.len());
        note("spec.ports".to_owned(), detail);
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{i}]");
        if port.is_empty() || port.chars().count() > 63 {
            note(
                field,
                format!("{port:?} is neither a port's name nor a number"),
            );
        } else if !seen.insert(port) {
            note(field, format!("{port:?} is there twice"));
        }
    }
}

/// Names of Services start with a letter, unlike other labels.
fn is_service(name: &str) -> bool {
    is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}
