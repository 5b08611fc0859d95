//! Classes of callers with weights of their own.

use std::{collections::BTreeSet, sync::Arc};

use sluice_crds::split::{
    CALLER_PEERS_IN_ALL, CallerClass as Class, MAX_CALLER_PEERS, MAX_CALLERS, MAX_VERSIONS,
    NO_CALLER_WEIGHT, Version, WEIGHTS_NAME_VERSIONS,
};

use super::Weight;
use crate::{
    facts::{
        faults::Faults,
        frontend::not_a_label,
        peer::{self, Peer},
    },
    key::is_label,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerClass {
    pub name: Arc<str>,
    pub from: Box<[Peer]>,
    /// By version; one that is not named gets nothing.
    pub weights: Box<[(Arc<str>, Weight)]>,
}

pub(super) fn parse(
    callers: &[Class],
    versions: &[Version],
    faults: &mut Faults,
) -> Box<[CallerClass]> {
    faults.count("spec.callers", callers.len(), 0, MAX_CALLERS);
    if callers.iter().map(|class| class.from.len()).sum::<usize>() > MAX_CALLER_PEERS {
        faults.note("spec.callers", CALLER_PEERS_IN_ALL);
    }
    let mut names = BTreeSet::new();
    let mut classes = Vec::with_capacity(callers.len());
    for (
        i,
        Class {
            name,
            from,
            weights,
        },
    ) in callers.iter().enumerate()
    {
        let field = format!("spec.callers[{i}]");
        if is_label(name) {
            faults.once(&mut names, name, || format!("{field}.name"));
        } else {
            faults.note(format!("{field}.name"), not_a_label(name));
        }
        let from = peer::parse_all(from, &format!("{field}.from"), faults);
        let field = format!("{field}.weights");
        faults.count(&field, weights.len(), 1, MAX_VERSIONS);
        if weights.values().all(|weight| *weight == 0) {
            faults.note(field.as_str(), NO_CALLER_WEIGHT);
        }
        let mut parsed = Vec::with_capacity(weights.len());
        for (version, weight) in weights {
            let field = format!("{field}.{version}");
            if versions.iter().all(|known| known.name != *version) {
                faults.note(field.as_str(), WEIGHTS_NAME_VERSIONS);
            }
            if let Some(weight) = super::parse_weight(*weight, &field, faults) {
                parsed.push((version.as_str().into(), weight));
            }
        }
        classes.push(CallerClass {
            name: name.as_str().into(),
            from,
            weights: parsed.into(),
        });
    }
    classes.into()
}
