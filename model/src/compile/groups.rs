//! The backends of a version by `pods`: what Kubernetes found for the group's headless Service.
//!
//! A group that is not there yet is not a group without pods: the operator may be away, and a split that was just
//! stored has none of its groups. So that is told apart.

use super::versions::{Lent, Needed};
use crate::{
    facts::{
        group::{self, Group},
        service::Fact,
    },
    finding::Reason,
    index::Snapshot,
    key::SplitKey,
};

/// The endpoints of those pods of the split's Service, `parent`, that are in this group.
pub(super) fn lent(
    snapshot: Snapshot<'_>,
    split: &SplitKey,
    parent: &Fact,
    group: &Group,
    needed: Needed<'_>,
) -> Lent {
    match kept(snapshot, split, parent, group) {
        Err((reason, detail)) => Lent {
            awaited: reason == Reason::Pending,
            ..Lent::nothing(reason, detail)
        },
        Ok(kept) => {
            let mut slices = snapshot.slices_of(&group.service);
            let looked_for = slices.any(|slice| slice.family == needed.id.family);
            let problem = if looked_for {
                outdated(kept, parent, group)
            } else {
                let detail = format!(
                    "there is no {} EndpointSlice of Service {} yet",
                    needed.id.family, group.service
                );
                Some((Reason::Pending, detail))
            };
            Lent {
                problem,
                awaited: !looked_for,
                ..Lent::of(snapshot, &group.service, needed.port, needed)
            }
        }
    }
}

/// The group's Service, if it is there and is the group's.
fn kept<'a>(
    snapshot: Snapshot<'a>,
    split: &SplitKey,
    parent: &Fact,
    group: &Group,
) -> Result<&'a Fact, (Reason, String)> {
    let service = &group.service;
    if parent.selects.is_nothing() {
        let detail = "the split's Service has no selector, so it has no pods of its own";
        return Err((Reason::ServiceSelectsNothing, detail.to_owned()));
    }
    if let Some((key, asked, own)) = group.contradiction(&parent.selects) {
        let detail = format!(
            "the split's Service selects {key}={asked} and this version {key}={own}: no pod is both"
        );
        return Err((Reason::NoPodsSelected, detail));
    }
    let Some(kept) = snapshot.service(service) else {
        let detail = format!("the operator has not made Service {service} yet");
        return Err((Reason::Pending, detail));
    };
    let label = group::label(&split.0);
    if kept.policy.as_deref() != Some(label.as_str()) {
        let detail = format!(
            "Service {service} is somebody else's: it has no label {}={label}",
            group::POLICY
        );
        return Err((Reason::ServiceLeftAlone, detail));
    }
    Ok(kept)
}

/// Whether other pods are looked for than should be. In files nobody looks for any.
fn outdated(kept: &Fact, parent: &Fact, group: &Group) -> Option<(Reason, String)> {
    let wanted = group.selector(&parent.selects);
    let wanted = wanted.iter().map(|(key, value)| (&**key, &**value));
    (!kept.selects.is_nothing() && !kept.selects.pairs().eq(wanted)).then(|| {
        let detail = format!(
            "the operator has not told Service {} yet which pods are meant now",
            group.service
        );
        (Reason::Pending, detail)
    })
}
