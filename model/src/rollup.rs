//! From what each node achieved to what all of them did.
//!
//! A policy is programmed when every node that should has reported this very object in this very
//! generation as programmed. Silence is never taken for success: a node that should and has said
//! nothing about it is pending, and with no node at all nothing is programmed. A node that has started
//! anew since it reported has empty maps, so its report counts for nothing.
//!
//! What is asked about one policy looks at the reports about that policy alone; [`Rollup::hear`]
//! names the policies that a report changed, so a report of one node costs no more than it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use sluice_crds::{conditions::Reason, report::NodeReportStatus, split::NodesStatus};

use crate::key::{Kind, Name, NodeKey, Subject};

/// So many nodes are named in a text; of the others only the number.
const NAMED: usize = 3;

/// The nodes that should, and what every node said.
#[derive(Clone, Debug, Default)]
pub struct Rollup {
    nodes: BTreeMap<NodeKey, Boot>,
    /// By node: since which start its report speaks, and of what.
    reports: BTreeMap<NodeKey, (Boot, BTreeSet<Subject>)>,
    /// By policy: what each node said, be it one that should or not.
    said: BTreeMap<Subject, BTreeMap<NodeKey, Entry>>,
}

/// Which start of its machine a node lives in, as the kernel names it. Nothing where nobody knows.
pub type Boot = Arc<str>;

/// What one node said about one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub uid: Arc<str>,
    pub generation: i64,
    pub outcome: Result<(), (Reason, Arc<str>)>,
}

/// How far the nodes are with one generation of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub nodes: NodesStatus,
    /// The first nodes that have not said anything about it yet, by name.
    pub pending: Vec<NodeKey>,
    /// The first nodes that could not, and why.
    pub failed: Vec<(NodeKey, Reason, Arc<str>)>,
}

impl Rollup {
    /// The start that a node lives in, if it is one of those that should. Says whether that is news.
    pub fn set_node(&mut self, node: NodeKey, should: Option<Boot>) -> bool {
        match should {
            Some(boot) => self.nodes.insert(node, Arc::clone(&boot)) != Some(boot),
            None => self.nodes.remove(&node).is_some(),
        }
    }

    /// The nodes that should.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeKey> {
        self.nodes.keys()
    }

    /// Takes a node's report, or that it has none. Gives the policies of which it says something
    /// else than before.
    pub fn hear(
        &mut self,
        node: &NodeKey,
        boot: &str,
        report: impl IntoIterator<Item = (Subject, Entry)>,
    ) -> BTreeSet<Subject> {
        let mut changed = BTreeSet::new();
        let mut spoken_of = BTreeSet::new();
        for (policy, entry) in report {
            spoken_of.insert(policy.clone());
            let said = self.said.entry(policy.clone()).or_default();
            if said.get(node) != Some(&entry) {
                said.insert(node.clone(), entry);
                changed.insert(policy);
            }
        }
        let (since, before) = self.reports.remove(node).unwrap_or_default();
        if &*since != boot {
            changed.extend(spoken_of.iter().cloned());
        }
        for policy in before {
            if spoken_of.contains(&policy) {
                continue;
            }
            if let Some(said) = self.said.get_mut(&policy) {
                said.remove(node);
                if said.is_empty() {
                    self.said.remove(&policy);
                }
            }
            changed.insert(policy);
        }
        if !spoken_of.is_empty() {
            self.reports.insert(node.clone(), (boot.into(), spoken_of));
        }
        changed
    }

    /// The nodes that have reported anything.
    pub fn reporters(&self) -> impl Iterator<Item = &NodeKey> {
        self.reports.keys()
    }

    pub fn standing(&self, policy: &Subject, uid: &str, generation: i64) -> Standing {
        let mut standing = Standing::default();
        let said = self.said.get(policy);
        for (node, boot) in &self.nodes {
            standing.nodes.desired += 1;
            let report = self.reports.get(node);
            let is_of_this_start =
                report.is_some_and(|(since, _)| boot.is_empty() || since == boot);
            let entry = said.and_then(|said| said.get(node));
            let entry = entry.filter(|_| is_of_this_start);
            let entry = entry.filter(|entry| &*entry.uid == uid);
            if let Some(Entry {
                outcome: Ok(()),
                generation,
                ..
            }) = entry
            {
                let oldest = &mut standing.nodes.oldest_generation;
                *oldest = Some(oldest.map_or(*generation, |oldest| oldest.min(*generation)));
            }
            match entry.filter(|entry| entry.generation == generation) {
                Some(Entry {
                    outcome: Ok(()), ..
                }) => standing.nodes.programmed += 1,
                Some(Entry {
                    outcome: Err((reason, text)),
                    ..
                }) if is_failure(*reason) => {
                    standing.nodes.failed += 1;
                    if standing.failed.len() < NAMED {
                        let failed = (node.clone(), *reason, Arc::clone(text));
                        standing.failed.push(failed);
                    }
                }
                _ => {
                    if standing.pending.len() < NAMED {
                        standing.pending.push(node.clone());
                    }
                }
            }
        }
        standing
    }
}

impl Entry {
    /// The entries of a report. A node that steers no connects has programmed nothing, whatever it
    /// wrote into its maps.
    pub fn all_of(report: &NodeReportStatus) -> impl Iterator<Item = (Subject, Self)> {
        let idle: Option<Arc<str>> = (!report.ready).then(|| report.message.as_str().into());
        report.policies.iter().filter_map(move |policy| {
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.to_string() == policy.kind)?;
            let name = Name::parse(&policy.namespace, &policy.name)?;
            let outcome = match (policy.programmed, &idle) {
                (true, None) => Ok(()),
                (true, Some(why)) => Err((Reason::NodeFailed, Arc::clone(why))),
                (false, _) => Err((policy.reason, policy.message.as_str().into())),
            };
            let entry = Self {
                uid: policy.uid.as_str().into(),
                generation: policy.generation,
                outcome,
            };
            Some((Subject { kind, name }, entry))
        })
    }
}

impl Standing {
    /// What stands in the way of saying that the policy is programmed.
    pub fn obstacle(&self) -> Option<(Reason, String)> {
        let NodesStatus {
            desired,
            programmed,
            failed,
            ..
        } = self.nodes;
        if let Some((node, reason, text)) = self.failed.first() {
            let mut message = format!("{} on node {node}", reason.name());
            if !text.is_empty() {
                message = format!("{message}: {text}");
            }
            let others: Vec<_> = self.failed.iter().skip(1).map(|(node, ..)| node).collect();
            if !others.is_empty() {
                let more = Names {
                    first: &others,
                    all: failed as usize - 1,
                };
                message = format!("{message}; not on {more} either");
            }
            return Some((Reason::NodeFailed, message));
        }
        if desired == 0 {
            return Some((
                Reason::NodesPending,
                "no node should carry Sluice".to_owned(),
            ));
        }
        let pending = desired - programmed;
        (pending > 0).then(|| {
            let first: Vec<_> = self.pending.iter().collect();
            let names = Names {
                first: &first,
                all: pending as usize,
            };
            let message = format!("waiting for {names} ({programmed} of {desired} nodes have it)");
            (Reason::NodesPending, message)
        })
    }
}

/// Whether a node that gives this reason has tried and could not. Any other reason is the objects':
/// a node that gives one which the objects no longer do has only not got to it.
fn is_failure(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NodeFailed | Reason::CapacityExceeded | Reason::FeatureMissing
    )
}

/// A few names and how many more there are.
struct Names<'a> {
    first: &'a [&'a NodeKey],
    all: usize,
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.first.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{node}")?;
        }
        match self.all.saturating_sub(self.first.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
