//! What a split asks for that agents cannot do yet.
//!
//! Such a split is accepted and changes nothing: it acts as a whole or not, and doing the rest of it
//! would send connections where nobody asked for them.

use crate::{
    facts::split::Fact,
    finding::{Finding, Reason},
    key::SplitKey,
};

pub(super) fn missing(key: &SplitKey, split: &Fact) -> Vec<Finding> {
    let detail = "agents cannot program this yet; until then the Service serves without the split";
    let asked = split.rollout.iter().map(|_| "spec.rollout");
    asked
        .map(|field| Finding::new(key.clone(), Reason::FeatureMissing, detail).at(field))
        .collect()
}
