//! What this node achieved, as its `NodeReport` says it.
//!
//! An entry is about what the kernel holds: a split is programmed once the pass that wrote its
//! generation has ended and nothing that its Service needs is left to be written. A new agent says
//! nothing until it has made a pass and tried a connect, lest it denies what an earlier one achieved;
//! only if that takes long it says what it waits for.

mod writer;

use std::collections::{BTreeMap, BTreeSet};

use sluice_crds::{
    conditions::{ConditionType, Reason},
    report::{MAX_POLICIES, MAX_TEXT, MapUse, NodeReportStatus, PolicyReport},
};
use sluice_model::{
    condition::Condition,
    desired::Owner,
    facts::{origin::Origin, split},
    index::ClaimKey,
    key::{SplitKey, Subject},
    table,
};

use crate::{
    agent::{Agent, status::Node},
    maps::Maps,
};

pub use writer::{MANAGER, Writer};

/// Map use is told again when it has moved by one part in so many.
const STEPS: u64 = 16;

/// The largest size of all entries together: a store takes no object above 1.5 MiB.
const MAX_BYTES: usize = 1_400_000;
/// The size of an entry without its texts, at most.
const ENTRY_BYTES: usize = 224;

/// How much a report says that the last one did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    None,
    /// Numbers that may wait and ride along.
    Counts,
    /// Somebody waits for this.
    Outcome,
}

/// The whole report.
pub fn of<M: Maps>(agent: &Agent<M>, node: &Node) -> NodeReportStatus {
    let readiness = agent.is_ready();
    let splits = agent.index().splits().iter();
    let splits = splits.filter_map(|(key, fact)| of_split(agent, key, fact));
    let claims = agent.index().claims();
    let claims = claims.filter_map(|key| of_claim(agent, &key));
    NodeReportStatus {
        agent: node.version.to_owned(),
        kernel: node.features.kernel.clone(),
        boot: node.boot.clone(),
        ready: readiness.is_ok(),
        message: cut(&readiness.err().unwrap_or_default()),
        drift: agent.counts().drift,
        policies: fitting(splits.chain(claims).collect()),
        maps: agent
            .map_use()
            .into_iter()
            .map(|map| MapUse {
                name: map.map.to_owned(),
                used: map.used,
                capacity: map.capacity.into(),
            })
            .collect(),
    }
}

/// What is new in `now` since `last`.
pub fn news(last: &NodeReportStatus, now: &NodeReportStatus) -> News {
    let outcome = |report: &NodeReportStatus| {
        let mut report = report.clone();
        report.drift = 0;
        report.maps.clear();
        for policy in &mut report.policies {
            policy.backends = 0;
        }
        report
    };
    let counts = |report: &NodeReportStatus| {
        let backends = report.policies.iter().map(|policy| policy.backends);
        let fullness = report
            .maps
            .iter()
            .map(|map| map.used.saturating_mul(STEPS) / map.capacity.max(1));
        let numbers = backends.map(u64::from).chain(fullness);
        (report.drift, numbers.collect::<Vec<_>>())
    };
    if outcome(last) != outcome(now) {
        News::Outcome
    } else if counts(last) != counts(now) {
        News::Counts
    } else {
        News::None
    }
}

/// One split. `None` for one without UID or generation: no API server made it.
fn of_split<M: Maps>(agent: &Agent<M>, key: &SplitKey, fact: &split::Fact) -> Option<PolicyReport> {
    let status = agent.state().split_status(agent.index(), key)?;
    let backends = backends(agent, key, fact);
    entry(
        &key.clone().into(),
        &fact.origin,
        &status.conditions,
        backends,
    )
}

/// The same of a policy that claims a frontend.
fn of_claim<M: Maps>(agent: &Agent<M>, key: &ClaimKey) -> Option<PolicyReport> {
    let index = agent.index();
    let status = agent.state().claim_status(index, key)?;
    let origin = index.origin(key)?;
    entry(&key.clone().into(), origin, &status.conditions, 0)
}

fn entry(
    policy: &Subject,
    origin: &Origin,
    conditions: &[Condition],
    backends: u32,
) -> Option<PolicyReport> {
    let mut conditions = conditions.iter();
    let programmed = conditions.find(|condition| condition.kind == ConditionType::Programmed);
    let (programmed, reason, message) = match programmed {
        Some(Condition {
            status,
            reason,
            message,
            ..
        }) => (*status, *reason, message.as_str()),
        None => (false, Reason::Pending, ""),
    };
    Some(PolicyReport {
        kind: policy.kind.to_string(),
        namespace: policy.name.namespace().to_owned(),
        name: policy.name.name().to_owned(),
        uid: origin.uid.as_deref()?.to_owned(),
        generation: origin.generation?,
        programmed,
        backends,
        reason,
        message: cut(message),
    })
}

/// As many as one object can hold. Where that is not all of them, each namespace has the same part
/// of it, lest one with many splits takes the report away from all others.
fn fitting(policies: Vec<PolicyReport>) -> Vec<PolicyReport> {
    let mut of_namespace = BTreeMap::<&str, usize>::new();
    let mut order = Vec::new();
    for (i, policy) in policies.iter().enumerate() {
        let before = of_namespace.entry(&policy.namespace).or_default();
        let size = size(policy);
        *before += size;
        order.push((*before, i, size));
    }
    order.sort_unstable();
    let mut left = MAX_BYTES;
    let kept: BTreeSet<usize> = order
        .into_iter()
        .take(MAX_POLICIES)
        .map_while(|(_, i, size)| {
            left = left.checked_sub(size)?;
            Some(i)
        })
        .collect();
    let policies = policies.into_iter().enumerate();
    let kept = policies.filter(|(i, _)| kept.contains(i));
    kept.map(|(_, policy)| policy).collect()
}

/// About how large a report is as JSON.
fn bytes(report: &NodeReportStatus) -> usize {
    report.policies.iter().map(size).sum()
}

/// How much of a report an entry takes as JSON, and never less than that.
fn size(policy: &PolicyReport) -> usize {
    let letter = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        b'<' | b'>' | b'&' | ..0x20 | 0x7f.. => 6,
        _ => 1,
    };
    let texts = [
        &policy.namespace,
        &policy.name,
        &policy.uid,
        &policy.message,
    ];
    let letters = texts.into_iter().flat_map(|text| text.bytes());
    ENTRY_BYTES + letters.map(letter).sum::<usize>()
}

/// How many backends a connect can reach through the split, on the port that has most: a pod of two
/// families is one.
fn backends<M: Maps>(agent: &Agent<M>, key: &SplitKey, fact: &split::Fact) -> u32 {
    let service = agent.state().desired().services.get(&fact.service);
    let ports = service.map_or(&[][..], |service| &service.ports);
    let own = ports
        .iter()
        .filter(|port| matches!(&port.owner, Owner::Split(owner) if owner == key));
    let reached = own.map(|port| {
        let shares = table::of_port(port, None);
        let versions = port.versions.iter().zip(shares.entries);
        let chosen = versions.filter(|(_, share)| share.slots > 0);
        let backends = chosen.flat_map(|(version, _)| version.backends.iter());
        backends.collect::<BTreeSet<_>>().len()
    });
    u32::try_from(reached.max().unwrap_or_default()).unwrap_or(u32::MAX)
}

/// As much of a text as a report takes.
fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> NodeReportStatus {
        NodeReportStatus {
            ready: true,
            drift: 1,
            policies: vec![PolicyReport {
                kind: "TrafficSplit".into(),
                namespace: "shop".into(),
                name: "checkout".into(),
                uid: "1".into(),
                generation: 1,
                programmed: true,
                backends: 2,
                reason: Reason::Programmed,
                message: String::new(),
            }],
            maps: vec![MapUse {
                name: "PORTS".into(),
                used: 100,
                capacity: 1600,
            }],
            ..NodeReportStatus::default()
        }
    }

    #[test]
    fn what_somebody_waits_for_is_told_apart_from_numbers() {
        type Change = fn(&mut NodeReportStatus);
        let cases: [(News, Change); 10] = [
            (News::None, |_| {}),
            (News::None, |report| report.maps[0].used += 99),
            (News::Counts, |report| report.maps[0].used += 100),
            (News::Counts, |report| report.drift += 1),
            (News::Counts, |report| report.policies[0].backends += 1),
            (News::Outcome, |report| report.policies[0].generation += 1),
            (News::Outcome, |report| report.policies[0].uid.push('0')),
            (News::Outcome, |report| {
                report.policies[0].programmed = false;
            }),
            (News::Outcome, |report| report.policies.clear()),
            (News::Outcome, |report| {
                report.ready = false;
                report.drift += 1;
            }),
        ];
        for (i, (expected, change)) in cases.into_iter().enumerate() {
            let mut now = report();
            change(&mut now);
            assert_eq!(news(&report(), &now), expected, "case {i}");
        }
    }

    #[test]
    fn one_namespace_takes_the_report_from_no_other() {
        let policies = |namespace: &str, count: usize, message: &str| {
            let policy = PolicyReport {
                namespace: namespace.into(),
                message: message.into(),
                ..report().policies.remove(0)
            };
            let named = move |i| PolicyReport {
                name: format!("split-{i:04}"),
                ..policy.clone()
            };
            (0..count).map(named).collect::<Vec<_>>()
        };
        let of = |kept: &[PolicyReport], namespace: &str| {
            let own = kept.iter().filter(|policy| policy.namespace == namespace);
            own.count()
        };
        for message in [String::new(), "\"<".repeat(MAX_TEXT / 2)] {
            let mut all = policies("a", 9_000, &message);
            all.extend(policies("m", 9_000, &message));
            all.extend(policies("z", 100, ""));
            let kept = fitting(all);
            assert!(kept.is_sorted_by_key(|policy| (&policy.namespace, &policy.name)));
            assert_eq!(of(&kept, "z"), 100);
            assert!(of(&kept, "a").abs_diff(of(&kept, "m")) <= 1);
            assert!((100..=MAX_POLICIES).contains(&kept.len()));
            let size = serde_json::to_vec(&kept).expect("JSON").len();
            assert!((400_000..=MAX_BYTES).contains(&size), "{size}");
        }
        let few = policies("a", 1_000, "");
        assert_eq!(fitting(few.clone()), few);
    }
}
