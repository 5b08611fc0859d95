//! What a split asks for that agents cannot do yet.
//!
//! Such a split is accepted and changes nothing: it acts as a whole or not, and doing the rest of it
//! would send connections where nobody asked for them.

use crate::{
    facts::split::{Fact, Shift},
    finding::{Finding, Reason},
    key::SplitKey,
};

pub(super) fn missing(key: &SplitKey, split: &Fact) -> Vec<Finding> {
    let asked = [
        (split.on_shift != Shift::Keep, "spec.onShift"),
        (split.rollout.is_some(), "spec.rollout"),
    ];
    let asked = asked.into_iter().filter(|(asked, _)| *asked);
    let detail = "agents cannot program this yet; until then the Service serves without the split";
    asked
        .map(|(_, field)| Finding::new(key.clone(), Reason::FeatureMissing, detail).at(field))
        .collect()
}
