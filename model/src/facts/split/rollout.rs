//! A rollout: what gets all traffic, by which way, and what is measured on it.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use sluice_crds::split::{
    self as crds, AFTER_FITS, BlueGreen, CallerClass, Canary, HOLD_BOUNDS, MAX_STEPS, ONE_STRATEGY,
    ONE_WAIT, OnFailure, PREVIEW_IS_CLASS, Promotion, TARGET_IS_VERSION, Version,
};

use super::analysis::{self, Analysis};
use crate::facts::{
    amount::{Percent, span},
    command::is_token,
    faults::Faults,
};

/// From a second to a week.
const HOLD: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(168 * 3600);
const MAX_REVISION: usize = 63;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The version that shall end with all traffic.
    pub target: Arc<str>,
    pub revision: Option<Arc<str>>,
    pub strategy: Strategy,
    pub analysis: Option<Analysis>,
    pub on_failure: OnFailure,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    Canary(Box<[Step]>),
    BlueGreen {
        /// The class of callers that gets the target first.
        preview: Option<Arc<str>>,
        /// `None` waits for somebody.
        after: Option<Duration>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub weight: Percent,
    pub hold: Option<Duration>,
    /// It waits for somebody.
    pub pause: bool,
}

/// `None` if it has a fault that leaves no strategy.
pub(super) fn parse(
    rollout: &crds::Rollout,
    versions: &[Version],
    callers: &[CallerClass],
    faults: &mut Faults,
) -> Option<Rollout> {
    let crds::Rollout {
        target,
        revision,
        canary,
        blue_green,
        analysis,
        on_failure,
    } = rollout;
    if versions.iter().all(|version| version.name != *target) {
        faults.note("spec.rollout.target", TARGET_IS_VERSION);
    }
    if let Some(revision) = revision
        .as_deref()
        .filter(|text| text.len() > MAX_REVISION || !is_token(text))
    {
        let detail = format!("{revision:?} is not a revision, such as 2.4.1 or a commit");
        faults.note("spec.rollout.revision", detail);
    }
    let analysis = analysis
        .as_ref()
        .and_then(|wanted| analysis::parse(wanted, faults));
    let strategy = match (canary, blue_green) {
        (Some(canary), None) => parse_canary(canary, faults),
        (None, Some(blue_green)) => parse_blue_green(blue_green, callers, faults),
        (Some(_), Some(_)) | (None, None) => {
            faults.note("spec.rollout", ONE_STRATEGY);
            return None;
        }
    };
    Some(Rollout {
        target: target.as_str().into(),
        revision: revision.as_deref().map(Into::into),
        strategy,
        analysis,
        on_failure: *on_failure,
    })
}

fn parse_canary(canary: &Canary, faults: &mut Faults) -> Strategy {
    let field = "spec.rollout.canary.steps";
    faults.count(field, canary.steps.len(), 1, MAX_STEPS);
    let mut steps: Vec<Step> = Vec::with_capacity(canary.steps.len());
    for (
        i,
        crds::Step {
            weight,
            hold,
            pause,
        },
    ) in canary.steps.iter().enumerate()
    {
        let field = format!("{field}[{i}]");
        let pause = pause.unwrap_or(false);
        if hold.is_some() && pause {
            faults.note(field.as_str(), ONE_WAIT);
        }
        let hold = hold
            .as_deref()
            .and_then(|text| parse_hold(text, &format!("{field}.hold"), faults));
        let Some(weight) = Percent::parse(weight) else {
            let detail = format!("{weight:?} is not a part of all, such as 5% or 100%");
            faults.note(format!("{field}.weight"), detail);
            continue;
        };
        if steps.last().is_some_and(|before| weight < before.weight) {
            let detail = "a step does not go back behind the one before";
            faults.note(format!("{field}.weight"), detail);
        }
        steps.push(Step {
            weight,
            hold,
            pause,
        });
    }
    Strategy::Canary(steps.into())
}

fn parse_blue_green(
    blue_green: &BlueGreen,
    callers: &[CallerClass],
    faults: &mut Faults,
) -> Strategy {
    let BlueGreen {
        preview,
        promotion,
        after,
    } = blue_green;
    let field = "spec.rollout.blueGreen";
    if let Some(preview) = preview
        && callers.iter().all(|class| class.name != *preview)
    {
        faults.note(format!("{field}.preview"), PREVIEW_IS_CLASS);
    }
    if after.is_some() != (*promotion == Promotion::After) {
        faults.note(field, AFTER_FITS);
    }
    Strategy::BlueGreen {
        preview: preview.as_deref().map(Into::into),
        after: after
            .as_deref()
            .and_then(|text| parse_hold(text, &format!("{field}.after"), faults)),
    }
}

fn parse_hold(text: &str, field: &str, faults: &mut Faults) -> Option<Duration> {
    let hold = span(text).filter(|hold| HOLD.contains(hold));
    if hold.is_none() {
        let detail = format!("{text:?} is not a time such as 5m, {HOLD_BOUNDS}");
        faults.note(field, detail);
    }
    hold
}
