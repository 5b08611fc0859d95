//! What became of the policies that claim frontends, kept from one pass to the next.

use std::collections::BTreeSet;

use crate::{
    compile::claims::{self, Findings},
    condition::{self, Judged},
    finding::Finding,
    index::{ClaimKey, Index, Snapshot},
    key::Subject,
};

/// What was found about each claim, as of the last pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgements(Findings);

impl Judgements {
    /// Judges what was touched, or everything. Gives those of which something else is found than
    /// before, and those that are new or gone.
    pub fn pass(
        &mut self,
        snapshot: Snapshot<'_>,
        touched: BTreeSet<ClaimKey>,
        everything: bool,
    ) -> BTreeSet<ClaimKey> {
        let mut touched = touched;
        if everything {
            touched.extend(self.0.keys().cloned());
            touched.extend(snapshot.claims());
        }
        let gone = touched.iter().filter(|key| snapshot.claim(key).is_none());
        let gone: Vec<_> = gone.cloned().collect();
        let mut changed = BTreeSet::new();
        for key in gone {
            if self.0.remove(&key).is_some() {
                changed.insert(key);
            }
        }
        for (key, findings) in claims::judge(snapshot, touched) {
            if self.0.get(&key) != Some(&findings) {
                self.0.insert(key.clone(), findings);
                changed.insert(key);
            }
        }
        changed
    }

    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.0.values().flatten()
    }

    /// `None` if there is no such policy, or none of which anything is known.
    pub fn judge(&self, index: &Index, key: &ClaimKey) -> Option<Judged> {
        let parsed = index.findings_of(&Subject::from(key.clone())).iter();
        let Some(found) = self.0.get(key) else {
            let parsed: Vec<_> = parsed.collect();
            return (!parsed.is_empty()).then(|| condition::judge_unusable(&parsed));
        };
        let findings: Vec<_> = parsed.chain(found).collect();
        let generation = index.origin(key)?.generation;
        Some(condition::judge_claim(generation, &findings))
    }
}
