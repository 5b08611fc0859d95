//! Which policies are accepted, and what splits compile to: the agents' own compiler, seen from no node.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use sluice_model::{
    claims::Judgements,
    compile::{self, Compiled},
    condition::{self, Judged},
    finding::{self, Finding},
    index::{ClaimKey, Index},
    key::{BalancingKey, GrantKey, Kind, RedirectKey, ServiceKey, SplitKey, Subject},
};

/// What the Services that splits stand on compile to.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    compiled: BTreeMap<ServiceKey, Compiled>,
    claims: Judgements,
    /// Everything is compiled once, when all inputs have listed.
    begun: bool,
}

impl Accept {
    /// Compiles what changed. Gives the policies that may be judged otherwise than before; `None` as
    /// long as an input has not listed.
    pub fn pass(&mut self, index: &mut Index) -> Option<BTreeSet<Subject>> {
        index.snapshot()?;
        let mut services = index.take_dirty();
        let claims = index.take_dirty_claims();
        let snapshot = index.snapshot()?;
        let begins = !mem::replace(&mut self.begun, true);
        if begins {
            services.extend(snapshot.services().into_iter().cloned());
        }
        let claims = self.claims.pass(snapshot, claims, begins);
        let mut touched: BTreeSet<Subject> = claims.into_iter().map(Into::into).collect();
        for key in services {
            let mut splits = snapshot.splits_on(&key).map(|(split, _)| split).peekable();
            if splits.peek().is_none() {
                self.compiled.remove(&key);
                continue;
            }
            let compiled = compile::service(snapshot, &key);
            if self.compiled.get(&key) != Some(&compiled) {
                touched.extend(splits.cloned().map(Subject::from));
                self.compiled.insert(key, compiled);
            }
        }
        Some(touched)
    }

    /// `None` for what cannot be judged: there is no such policy.
    pub fn judge(&self, index: &Index, policy: &Subject) -> Option<Judged> {
        let name = policy.name.clone();
        match policy.kind {
            Kind::TrafficSplit => self.judge_split(index, &SplitKey(name)),
            Kind::LocalRedirectPolicy => {
                let key = ClaimKey::Redirect(RedirectKey(name));
                self.claims.judge(index, &key)
            }
            Kind::BalancingPolicy => {
                let key = ClaimKey::Balancing(BalancingKey(name));
                self.claims.judge(index, &key)
            }
            Kind::FrontendGrant => judge_grant(index, &GrantKey(name)),
            _ => None,
        }
    }

    fn judge_split(&self, index: &Index, key: &SplitKey) -> Option<Judged> {
        let subject = Subject::from(key.clone());
        let mut findings: Vec<&Finding> = index.findings_of(&subject).iter().collect();
        let Some(fact) = index.splits().get(key) else {
            return (!findings.is_empty()).then(|| condition::judge_unusable(&findings));
        };
        let compiled = self.compiled.get(&fact.service);
        let found = compiled.map_or(&[][..], |compiled| &compiled.findings);
        findings.extend(finding::about(found, &subject));
        let service = compiled.and_then(|compiled| compiled.service.as_deref());
        Some(condition::judge(key, fact, service, &findings))
    }
}

/// A grant stands by itself: whom it serves is said of those.
fn judge_grant(index: &Index, key: &GrantKey) -> Option<Judged> {
    let findings: Vec<_> = index.findings_of(&key.clone().into()).iter().collect();
    match index.grants().get(key) {
        Some(fact) => Some(condition::judge_grant(fact, &findings)),
        None => (!findings.is_empty()).then(|| condition::judge_unusable(&findings)),
    }
}
