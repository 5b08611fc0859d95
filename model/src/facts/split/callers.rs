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
    let looked_at = faults.count("spec.callers", callers.len(), 0, MAX_CALLERS);
    if callers.iter().map(|class| class.from.len()).sum::<usize>() > MAX_CALLER_PEERS {
        faults.note("spec.callers", CALLER_PEERS_IN_ALL);
    }
    let known: BTreeSet<&str> = versions.iter().map(|version| &*version.name).collect();
    let mut names = BTreeSet::new();
    let mut classes = Vec::with_capacity(looked_at);
    for (
        i,
        Class {
            name,
            from,
            weights,
        },
    ) in callers.iter().enumerate().take(looked_at)
    {
        let field = format!("spec.callers[{i}]");
        if is_label(name) {
            faults.once(&mut names, name, || format!("{field}.name"));
        } else {
            faults.note(format!("{field}.name"), not_a_label(name));
        }
        let from = peer::parse_all(from, &format!("{field}.from"), faults);
        let field = format!("{field}.weights");
        let looked_at = faults.count(&field, weights.len(), 1, MAX_VERSIONS);
        if weights.values().all(|weight| *weight == 0) {
            faults.note(field.as_str(), NO_CALLER_WEIGHT);
        }
        let mut parsed = Vec::with_capacity(looked_at);
        for (version, weight) in weights.iter().take(looked_at) {
            let field = format!("{field}.{version}");
            if !known.contains(&**version) {
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

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use crate::{
        change::{Change, Object},
        facts,
    };

    /// What is said of an object is what was done for it.
    #[test]
    fn of_lists_without_end_only_a_beginning_is_judged() {
        let bad = json!({"name": "A", "service": "B", "weight": u32::MAX});
        let weights: Map<String, Value> = (0..50_000)
            .map(|i| (format!("w{i}"), json!(u32::MAX)))
            .collect();
        let nobody = json!({"serviceAccounts": vec![""; 50]});
        let class = json!({"name": "A", "from": vec![nobody; 60], "weights": {"x": 0}});
        let mut callers = vec![class; 100];
        callers.insert(0, json!({"name": "a", "from": [{}], "weights": weights}));
        let object = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"service": "c", "versions": vec![bad; 12_000], "callers": callers},
        });
        let object = facts::parse(object).expect("an object of ours");
        let Change::Set(Object::Split(_, parsed)) = object else {
            panic!("not a split");
        };
        assert!(parsed.fact.is_none());
        let said = parsed.findings.len();
        assert!(said < 10_000, "{said}");
    }
}
