//! TrafficSplit: versions and weights. Any fault leaves no fact: a split acts as a whole or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sluice_crds::{
    TrafficSplit, TrafficSplitSpec,
    split::{
        self as crds, Connections, LABEL_KEYS, MAX_LABELS, MAX_PORTS, MAX_VERSIONS, MAX_WEIGHT,
        NO_WEIGHT, ONE_SOURCE, OnShift, Selection, WhenUnavailable,
    },
};

use super::Parsed;
use crate::{
    finding::{Finding, Reason},
    key::{Created, ServiceKey, SplitKey, is_label, is_label_key, is_label_value},
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
    /// Fields that ask for what no agent can do yet.
    pub missing: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub name: Arc<str>,
    pub source: Source,
    pub weight: Weight,
}

/// Where a version's backends come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This Service lends its endpoints.
    Service(ServiceKey),
    /// Those pods of the split's own Service that have these labels.
    Pods(BTreeMap<Arc<str>, Arc<str>>),
}

impl Fact {
    /// The Services that lend their endpoints.
    pub fn lenders(&self) -> impl Iterator<Item = &ServiceKey> {
        self.versions.iter().filter_map(|version| version.lender())
    }
}

impl Version {
    pub fn lender(&self) -> Option<&ServiceKey> {
        match &self.source {
            Source::Service(service) => Some(service),
            Source::Pods(_) => None,
        }
    }
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
        callers: _,
        balancing: _,
        cap_by_readiness: _,
        on_shift: _,
        rollout: _,
    } = &object.spec;
    let mut faults = Faults {
        key,
        findings: Vec::new(),
    };
    let service = parse_service(service, || "spec.service".to_owned(), &mut faults);
    parse_ports(ports, &mut faults);
    let versions = parse_versions(versions, &mut faults);
    let findings = faults.findings;
    let fact = service.filter(|_| findings.is_empty()).map(|service| Fact {
        uid: object.metadata.uid.as_deref().map(Into::into),
        created: Created::of(&object.metadata),
        generation: object.metadata.generation,
        service,
        ports: ports.iter().map(|port| port.as_str().into()).collect(),
        versions,
        selection: *selection,
        when_unavailable: *when_unavailable,
        missing: missing(&object.spec),
    });
    Parsed { fact, findings }
}

fn missing(spec: &TrafficSplitSpec) -> Vec<&'static str> {
    let shifts = |shift: &OnShift| shift.connections != Connections::Keep;
    let asked = [
        ("spec.callers", !spec.callers.is_empty()),
        ("spec.selection", spec.selection == Selection::Sticky),
        ("spec.balancing", spec.balancing.is_some()),
        ("spec.capByReadiness", spec.cap_by_readiness == Some(true)),
        ("spec.onShift", spec.on_shift.as_ref().is_some_and(shifts)),
        ("spec.rollout", spec.rollout.is_some()),
    ];
    let asked = asked.into_iter().filter(|(_, asked)| *asked);
    asked.map(|(field, _)| field).collect()
}

/// What is wrong with one split.
struct Faults<'a> {
    key: &'a SplitKey,
    findings: Vec<Finding>,
}

impl Faults<'_> {
    fn note(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        let finding = Finding::new(self.key.clone(), Reason::Invalid, detail);
        self.findings.push(finding.at(field));
    }
}

fn parse_versions(versions: &[crds::Version], faults: &mut Faults<'_>) -> Vec<Version> {
    if versions.is_empty() || versions.len() > MAX_VERSIONS {
        let detail = format!("there are {}; 1 to {MAX_VERSIONS} can be", versions.len());
        faults.note("spec.versions", detail);
    } else if versions.iter().all(|version| version.weight == 0) {
        faults.note("spec.versions", NO_WEIGHT);
    }
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::new();
    for (i, version) in versions.iter().enumerate() {
        let field = format!("spec.versions[{i}]");
        let name = &version.name;
        if !is_label(name) {
            let detail = format!("{name:?} is not a DNS label");
            faults.note(format!("{field}.name"), detail);
        } else if !seen.insert(name) {
            faults.note(format!("{field}.name"), format!("{name:?} is there twice"));
        }
        let weight = Weight::parse(version.weight);
        if weight.is_none() {
            let detail = format!("{} is above {MAX_WEIGHT}", version.weight);
            faults.note(format!("{field}.weight"), detail);
        }
        let source = parse_source(version, &field, faults);
        if let (Some(weight), Some(source)) = (weight, source) {
            parsed.push(Version {
                name: name.as_str().into(),
                source,
                weight,
            });
        }
    }
    parsed
}

fn parse_source(version: &crds::Version, field: &str, faults: &mut Faults<'_>) -> Option<Source> {
    match (&version.service, &version.pods) {
        (Some(service), None) => {
            let field = || format!("{field}.service");
            parse_service(service, field, faults).map(Source::Service)
        }
        (None, Some(pods)) => {
            parse_labels(&pods.match_labels, field, faults);
            let labels = pods.match_labels.iter();
            let labels = labels.map(|(key, value)| (key.as_str().into(), value.as_str().into()));
            Some(Source::Pods(labels.collect()))
        }
        (Some(_), Some(_)) | (None, None) => {
            faults.note(field, ONE_SOURCE);
            None
        }
    }
}

fn parse_labels(labels: &BTreeMap<String, String>, field: &str, faults: &mut Faults<'_>) {
    let field = format!("{field}.pods.matchLabels");
    if labels.is_empty() || labels.len() > MAX_LABELS {
        let detail = format!("there are {}; 1 to {MAX_LABELS} can be", labels.len());
        faults.note(field.clone(), detail);
    }
    if let Some(key) = labels.keys().find(|key| !is_label_key(key)) {
        faults.note(field.clone(), format!("{key:?} is none: {LABEL_KEYS}"));
    }
    for (key, value) in labels.iter().filter(|(_, value)| !is_label_value(value)) {
        let detail = format!("{value:?} is not a value of a label");
        faults.note(format!("{field}.{key}"), detail);
    }
}

fn parse_service(
    name: &str,
    field: impl FnOnce() -> String,
    faults: &mut Faults<'_>,
) -> Option<ServiceKey> {
    let service = is_service(name).then(|| faults.key.0.sibling(name));
    let service = service.flatten().map(ServiceKey);
    if service.is_none() {
        faults.note(field(), format!("{name:?} is not a name of a Service"));
    }
    service
}

fn parse_ports(ports: &[String], faults: &mut Faults<'_>) {
    if ports.len() > MAX_PORTS {
        let detail = format!("there are {}; at most {MAX_PORTS} can be", ports.len());
        faults.note("spec.ports", detail);
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{i}]");
        if port.is_empty() || port.chars().count() > 63 {
            let detail = format!("{port:?} is neither a port's name nor a number");
            faults.note(field, detail);
        } else if !seen.insert(port) {
            faults.note(field, format!("{port:?} is there twice"));
        }
    }
}

/// Whether a Service can have this name: they start with a letter, unlike other labels.
pub fn is_service(name: &str) -> bool {
    is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}
