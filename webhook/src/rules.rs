//! What may be stored: pure judgements of (old, new, what is known of the cluster).
//!
//! **Ratcheting**: a fault that the stored object already has does not keep it from being changed
//! otherwise, so what was stored without the webhook can still be labelled, mended and deleted.

mod claim;
mod grant;
mod split;

use kube::core::{DynamicObject, GroupVersionKind};
use sluice_crds::{GROUP, VERSION};
use sluice_model::{
    facts::Parsed,
    finding::{Finding, Reason},
    index::Snapshot,
    key::Kind,
};

/// What is to be said about a change of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The change is refused if there are any.
    pub denials: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

/// The kind of ours that this is.
pub fn kind(gvk: &GroupVersionKind) -> Option<Kind> {
    match (gvk.group.as_str(), gvk.version.as_str(), gvk.kind.as_str()) {
        (GROUP, VERSION, "TrafficSplit") => Some(Kind::TrafficSplit),
        (GROUP, VERSION, "LocalRedirectPolicy") => Some(Kind::LocalRedirectPolicy),
        (GROUP, VERSION, "BalancingPolicy") => Some(Kind::BalancingPolicy),
        (GROUP, VERSION, "FrontendGrant") => Some(Kind::FrontendGrant),
        _ => None,
    }
}

/// Judges a new object, or a change of an old one; with nothing known of the cluster, by itself.
pub fn judge(
    kind: Kind,
    old: Option<&DynamicObject>,
    new: &DynamicObject,
    cluster: Option<Snapshot<'_>>,
) -> Verdict {
    // It is on its way out; all that can happen to it is that finalizers go.
    if new.metadata.deletion_timestamp.is_some() {
        return Verdict::default();
    }
    match kind {
        Kind::TrafficSplit => split::judge(old, new, cluster),
        Kind::LocalRedirectPolicy | Kind::BalancingPolicy => claim::judge(kind, old, new, cluster),
        Kind::FrontendGrant => grant::judge(old, new),
        _ => Verdict::default(),
    }
}

impl Verdict {
    /// Faults that were there before are only warned of.
    fn of(found: Vec<Finding>, before: &[Finding]) -> Self {
        let refused = |finding: &Finding| denies(finding.reason) && !before.contains(finding);
        let (denials, warnings) = found.into_iter().partition(refused);
        Self { denials, warnings }
    }

    pub fn is_denied(&self) -> bool {
        !self.denials.is_empty()
    }
}

/// Whether one that now claims more may keep this fault: what was in conflict, and was let in because the
/// webhook was away, must not grow and outlast the winner.
fn is_excused(finding: &Finding) -> bool {
    finding.reason != Reason::Conflicted
}

/// Whether an object with such a fault is kept out. What is missing may come later, a grant too: Git
/// applies in any order.
fn denies(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Invalid | Reason::Conflicted | Reason::AddressReserved
    )
}

/// What would be accepted instead, where the finding does not say it.
pub fn remedy(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Conflicted => Some("change that one, or name ports that it does not have"),
        Reason::AddressNotGranted => {
            Some("it changes nothing until a cluster admin adds a FrontendGrant")
        }
        Reason::ServiceSelectsNothing => Some("give it one, or name a Service for the version"),
        Reason::NoPodsSelected => Some("take the label out of one of them"),
        Reason::Shadowed => Some("put it before, or take it out"),
        Reason::AddressReserved => Some("name an address that is nobody else's"),
        _ => None,
    }
}

/// How one that is still to be named is called here.
const NAMELESS: &str = "unnamed";

/// The object with a name.
fn named(object: &DynamicObject) -> DynamicObject {
    let mut object = object.clone();
    if object.metadata.name.is_none() {
        object.metadata.name = Some(NAMELESS.to_owned());
    }
    object
}

/// A fact of the index, to be put into another one.
fn whole<F>(fact: F) -> Parsed<F> {
    Parsed {
        fact: Some(fact),
        findings: Vec::new(),
    }
}
