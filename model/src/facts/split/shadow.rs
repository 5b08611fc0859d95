//! Classes of callers that nobody can be in, since one before has everybody whom they name.
//!
//! Only what can be seen without knowing any pod counts: a peer is covered by one that asks for the same or for less.

use super::{CallerClass, Fact};
use crate::{
    facts::{peer::Peer, selector::Selector},
    finding::{Finding, Reason},
    key::SplitKey,
};

impl Fact {
    /// The classes that come too late.
    pub fn shadowed_callers(&self, key: &SplitKey) -> Vec<Finding> {
        let classes = self.callers.iter().enumerate();
        let shadowed = classes.filter_map(|(i, class)| {
            let before = self.callers.get(..i)?;
            let names = coverers(class, before)?;
            let detail = format!(
                "nobody is ever in class {:?}: whom it names is in {names} before",
                class.name
            );
            let finding = Finding::new(key.clone(), Reason::Shadowed, detail);
            Some(finding.at(format!("spec.callers[{i}].from")))
        });
        shadowed.collect()
    }
}

/// The classes that together cover each peer of this one.
fn coverers(class: &CallerClass, before: &[CallerClass]) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for peer in &class.from {
        let covers = |other: &&CallerClass| other.from.iter().any(|other| covers(other, peer));
        let name = format!("{:?}", before.iter().find(covers)?.name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names.join(" or "))
}

/// Whether every pod that the second fits the first fits too.
fn covers(wide: &Peer, narrow: &Peer) -> bool {
    // Left out, it is the policy's own namespace, which is one of all.
    let namespaces = match (&wide.namespaces, &narrow.namespaces) {
        (Some(wide), _) if wide.is_everything() => true,
        (wide, narrow) => wide == narrow,
    };
    let accounts = match (&wide.service_accounts, &narrow.service_accounts) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => narrow.iter().all(|name| wide.contains(name)),
        (Some(_), None) => false,
    };
    let everything = |selector: &Option<Selector>| {
        let selector = selector.as_ref();
        selector.is_none_or(Selector::is_everything)
    };
    namespaces && accounts && (everything(&wide.pods) || wide.pods == narrow.pods)
}
