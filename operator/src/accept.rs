//! Which splits are accepted, and what they compile to: the agents' own compiler, seen from no node.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use sluice_model::{
    compile::{self, Compiled},
    condition::{self, Judged},
    finding::Finding,
    index::Index,
    key::{ServiceKey, SplitKey, Subject},
};

/// What the Services that splits stand on compile to.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    compiled: BTreeMap<ServiceKey, Compiled>,
    /// Everything is compiled once, when all inputs have listed.
    begun: bool,
}

impl Accept {
    /// Compiles what changed. Gives the splits that may be judged otherwise than before; `None` as
    /// long as an input has not listed.
    pub fn pass(&mut self, index: &mut Index) -> Option<BTreeSet<SplitKey>> {
        index.snapshot()?;
        let mut services = index.take_dirty();
        let snapshot = index.snapshot()?;
        if !mem::replace(&mut self.begun, true) {
            services.extend(snapshot.services().into_iter().cloned());
        }
        let mut touched = BTreeSet::new();
        for key in services {
            let mut splits = snapshot.splits_on(&key).map(|(split, _)| split).peekable();
            if splits.peek().is_none() {
                self.compiled.remove(&key);
                continue;
            }
            let compiled = compile::service(snapshot, &key);
            if self.compiled.get(&key) != Some(&compiled) {
                touched.extend(splits.cloned());
                self.compiled.insert(key, compiled);
            }
        }
        Some(touched)
    }

    /// `None` for what cannot be judged: there is no such split.
    pub fn judge(&self, index: &Index, key: &SplitKey) -> Option<Judged> {
        let subject = Subject::from(key.clone());
        let mut findings: Vec<&Finding> = index.findings_of(&subject).iter().collect();
        let Some(fact) = index.splits().get(key) else {
            return (!findings.is_empty()).then(|| condition::judge_unusable(&findings));
        };
        let compiled = self.compiled.get(&fact.service);
        let found = compiled.map_or(&[][..], |compiled| &compiled.findings);
        findings.extend(found.iter().filter(|finding| finding.subject == subject));
        let service = compiled.and_then(|compiled| compiled.service.as_deref());
        Some(condition::judge(key, fact, service, &findings))
    }
}
