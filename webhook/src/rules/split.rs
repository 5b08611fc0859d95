//! TrafficSplit: it parses, its command is one, and no stored split has one of its ports.
//!
//! Conflicts are found by compiling its Service with only the splits on it. A split that claims more
//! than before counts as the youngest there: who came first is decided by what is stored, not by a
//! creation time that lets an old split take a port from a younger one.

use std::collections::BTreeSet;

use kube::core::{DynamicObject, ObjectMeta};
use sluice_model::{
    change::{Change, Object},
    compile,
    facts::{Parsed, command, split::Fact},
    finding::{Finding, Reason},
    index::{Index, Snapshot},
    key::{Created, ServiceKey, SplitKey},
};
use sluice_runtime::watch::read;

use super::{Verdict, is_excused, named, whole};

pub(super) fn judge(
    old: Option<&DynamicObject>,
    new: &DynamicObject,
    cluster: Option<Snapshot<'_>>,
) -> Verdict {
    let Some((key, parsed)) = parse(new) else {
        return Verdict::default();
    };
    let stored = old.and_then(parse).map(|(_, parsed)| parsed);
    let stored_fact = stored.as_ref().and_then(|stored| stored.fact.as_ref());
    let mut before = match &stored {
        Some(stored) => findings(&key, stored, cluster),
        None => Vec::new(),
    };
    before.extend(old.and_then(|old| command::fault(key.clone(), &old.metadata)));
    let mut parsed = parsed;
    if let Some(fact) = &mut parsed.fact
        && !stored_fact.is_some_and(|stored| claims_no_more(fact, stored))
    {
        fact.origin.created = Created::of(&ObjectMeta::default());
        before.retain(is_excused);
    }
    let mut found = findings(&key, &parsed, cluster);
    let fact = parsed.fact.as_ref();
    found.extend(
        fact.into_iter()
            .flat_map(|fact| fact.shadowed_callers(&key)),
    );
    found.extend(command::fault(key, &new.metadata));
    Verdict::of(found, &before)
}

fn parse(object: &DynamicObject) -> Option<(SplitKey, Parsed<Fact>)> {
    match read::split(&named(object))? {
        Object::Split(key, parsed) => Some((key, parsed)),
        _ => None,
    }
}

fn claims_no_more(new: &Fact, old: &Fact) -> bool {
    let fewer_ports = || new.ports.iter().all(|port| old.ports.contains(port));
    new.service == old.service && (old.ports.is_empty() || !new.ports.is_empty() && fewer_ports())
}

/// What is wrong with the split by itself and beside what else is there.
fn findings(key: &SplitKey, parsed: &Parsed<Fact>, cluster: Option<Snapshot<'_>>) -> Vec<Finding> {
    let mut findings = parsed.findings.clone();
    if let (Some(fact), Some(cluster)) = (&parsed.fact, cluster) {
        let compiled = compiled(key, fact, cluster).into_iter();
        let own = |finding: &Finding| finding.subject == key.clone().into();
        findings.extend(compiled.filter(|finding| own(finding) && !is_to_come(finding)));
    }
    findings
}

/// Whether nobody has to do anything: the operator makes groups of pods once the split is stored.
fn is_to_come(finding: &Finding) -> bool {
    finding.reason == Reason::Pending
}

/// What the compiler finds in the split's Service with this split in it.
fn compiled(key: &SplitKey, fact: &Fact, cluster: Snapshot<'_>) -> Vec<Finding> {
    let mut index = Index::awaiting([]);
    let mut set = |object| index.apply(Change::Set(object));
    let services: BTreeSet<&ServiceKey> = fact.lenders().chain([&fact.service]).collect();
    for service in services {
        if let Some(fact) = cluster.service(service) {
            set(Object::Service(service.clone(), whole(fact.clone())));
        }
    }
    for (other, fact) in cluster.splits_on(&fact.service) {
        if other != key {
            set(Object::Split(other.clone(), whole(fact.clone())));
        }
    }
    set(Object::Split(key.clone(), whole(fact.clone())));
    index.snapshot().map_or(Vec::new(), |snapshot| {
        compile::service(snapshot, &fact.service).findings
    })
}
