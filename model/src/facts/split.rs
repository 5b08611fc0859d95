//! TrafficSplit: versions and weights. Any fault leaves no fact: a split acts as a whole or not.

mod analysis;
mod callers;
mod rollout;
mod shadow;
mod shift;

use std::{collections::BTreeSet, sync::Arc};

use sluice_crds::{
    TrafficSplit, TrafficSplitSpec,
    split::{
        self as crds, MAX_VERSIONS, MAX_WEIGHT, NO_WEIGHT, ONE_SOURCE, Selection, WhenUnavailable,
    },
};

use super::{
    Parsed,
    faults::Faults,
    frontend::{not_a_label, ports_of_service, service_of},
    group::Group,
    labels,
    origin::Origin,
    service::Balancing,
};
use crate::key::{ServiceKey, SplitKey, is_label};

pub use analysis::{Analysis, Check, Signal};
pub use callers::CallerClass;
pub use rollout::{Rollout, Step, Strategy};
pub use shift::Shift;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub origin: Origin,
    pub service: ServiceKey,
    /// Names or numbers of the Service's ports; empty for all.
    pub ports: Vec<Arc<str>>,
    pub versions: Vec<Version>,
    /// The first class that a caller is in counts.
    pub callers: Box<[CallerClass]>,
    pub selection: Selection,
    /// As the Service says where there is none.
    pub balancing: Option<Balancing>,
    pub when_unavailable: WhenUnavailable,
    /// During a rollout only, where nothing is said.
    pub cap_by_readiness: Option<bool>,
    pub on_shift: Shift,
    pub rollout: Option<Box<Rollout>>,
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
    /// Those pods of the split's own Service that have some labels.
    Pods(Group),
}

impl Fact {
    /// Whether no version gets a larger share than its ready pods could carry.
    pub fn caps_by_readiness(&self) -> bool {
        self.cap_by_readiness.unwrap_or(self.rollout.is_some())
    }

    /// The Services that lend their endpoints.
    pub fn lenders(&self) -> impl Iterator<Item = &ServiceKey> {
        self.versions.iter().map(Version::lender)
    }
}

impl Source {
    /// Its field in a version.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Pods(_) => "pods",
        }
    }
}

impl Version {
    pub fn lender(&self) -> &ServiceKey {
        match &self.source {
            Source::Service(service) => service,
            Source::Pods(group) => &group.service,
        }
    }
}

/// A version's weight in relation to the others: 0 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    pub const ZERO: Self = Self(0);
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
        callers,
        selection,
        balancing,
        when_unavailable,
        cap_by_readiness,
        on_shift,
        rollout,
    } = &object.spec;
    let mut faults = Faults::of(key.clone());
    let service = service_of(&key.0, service, "spec.service", &mut faults);
    ports_of_service(ports, "spec.ports", &mut faults);
    let parsed = parse_versions(key, versions, &mut faults);
    let classes = callers::parse(callers, versions, &mut faults);
    let on_shift = on_shift
        .as_ref()
        .map_or(Shift::Keep, |shift| shift::parse(shift, &mut faults));
    let rollout = rollout
        .as_ref()
        .and_then(|rollout| rollout::parse(rollout, versions, callers, &mut faults));
    let fact = service.filter(|_| faults.is_empty()).map(|service| Fact {
        origin: Origin::of(&object.metadata),
        service,
        ports: ports.iter().map(|port| port.as_str().into()).collect(),
        versions: parsed,
        callers: classes,
        selection: *selection,
        balancing: balancing.map(Into::into),
        when_unavailable: *when_unavailable,
        cap_by_readiness: *cap_by_readiness,
        on_shift,
        rollout: rollout.map(Box::new),
    });
    let findings = faults.into_findings();
    Parsed { fact, findings }
}

fn parse_versions(key: &SplitKey, versions: &[crds::Version], faults: &mut Faults) -> Vec<Version> {
    let field = "spec.versions";
    let looked_at = faults.count(field, versions.len(), 1, MAX_VERSIONS);
    if !versions.is_empty() && versions.iter().all(|version| version.weight == 0) {
        faults.note(field, NO_WEIGHT);
    }
    let mut names = BTreeSet::new();
    let mut parsed = Vec::with_capacity(looked_at);
    for (i, version) in versions.iter().enumerate().take(looked_at) {
        let field = format!("{field}[{i}]");
        let name = version.name.as_str();
        if is_label(name) {
            faults.once(&mut names, name, || format!("{field}.name"));
        } else {
            faults.note(format!("{field}.name"), not_a_label(name));
        }
        let weight = parse_weight(version.weight, &format!("{field}.weight"), faults);
        let source = parse_source(key, version, &field, faults);
        if let (Some(weight), Some(source)) = (weight, source) {
            parsed.push(Version {
                name: name.into(),
                source,
                weight,
            });
        }
    }
    parsed
}

fn parse_source(
    key: &SplitKey,
    version: &crds::Version,
    field: &str,
    faults: &mut Faults,
) -> Option<Source> {
    match (&version.service, &version.pods) {
        (Some(service), None) => {
            let service = service_of(&key.0, service, &format!("{field}.service"), faults);
            service.map(Source::Service)
        }
        (None, Some(pods)) => {
            let field = format!("{field}.pods.matchLabels");
            let labels = labels::parse(&pods.match_labels, &field, faults);
            Group::new(&key.0, &version.name, labels).map(Source::Pods)
        }
        (Some(_), Some(_)) | (None, None) => {
            faults.note(field, ONE_SOURCE);
            None
        }
    }
}

pub(super) fn parse_weight(weight: u32, field: &str, faults: &mut Faults) -> Option<Weight> {
    let parsed = Weight::parse(weight);
    if parsed.is_none() {
        faults.note(field, format!("{weight} is above {MAX_WEIGHT}"));
    }
    parsed
}

/// Whether a Service can have this name: they start with a letter, unlike other labels.
pub fn is_service(name: &str) -> bool {
    is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}
