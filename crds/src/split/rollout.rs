//! A rollout: from the version that has the traffic to the one that shall have it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use crate::pattern::{DURATION, LABEL, PERCENT, REVISION};

/// The largest number of steps.
pub const MAX_STEPS: usize = 32;

/// What is said of a rollout by both ways, or by none.
pub const ONE_STRATEGY: &str = "a rollout has either `canary` or `blueGreen`";
/// What is said of a step that both waits and asks.
pub const ONE_WAIT: &str = "a step has `hold` or `pause`, not both";
/// What is said of a promotion and its delay.
pub const AFTER_FITS: &str = "`after` says when if `promotion` is After, and is absent otherwise";
/// What is said of a step that is too short or too long.
pub const HOLD_BOUNDS: &str = "from 1s to 168h";

pub(super) const HOLD_RULE: &str =
    "duration(self) >= duration('1s') && duration(self) <= duration('168h')";

/// How a version gets all traffic. The weights of the versions say where it starts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.canary) != has(self.blueGreen)").message(ONE_STRATEGY)
)]
pub struct Rollout {
    /// Name of the version that shall end with all traffic.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub target: String,

    /// What is rolled out, such as a version or a commit. A new value here, or of `target`, starts a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 63), regex(pattern = REVISION))]
    pub revision: Option<String>,

    /// Step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Canary")]
    pub canary: Option<Canary>,

    /// All at once, after some callers have seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BlueGreen")]
    pub blue_green: Option<BlueGreen>,

    /// What is measured while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Analysis")]
    pub analysis: Option<Analysis>,

    /// What happens when a check has failed as often as it may. Rollback: all traffic goes back to
    /// the version that had it. Pause: everything stays as it is until somebody decides.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A rollout step by step.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The steps in their order. Their weights never go down.
    #[schemars(
        length(min = 1, max = MAX_STEPS),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub steps: Vec<Step>,
}

/// One step.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.hold) || !has(self.pause) || !self.pause").message(ONE_WAIT)
)]
pub struct Step {
    /// The part of all connections that the target gets, such as 5%. The other versions share the
    /// rest in their proportions.
    #[schemars(length(max = 16), regex(pattern = PERCENT))]
    pub weight: String,

    /// How long the step lasts at least, such as 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 16), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(HOLD_RULE).message(HOLD_BOUNDS))]
    pub hold: Option<String>,

    /// Whether the step lasts until somebody promotes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub pause: Option<bool>,
}

/// A rollout all at once.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.after) == (self.promotion == 'After')").message(AFTER_FITS)
)]
pub struct BlueGreen {
    /// The class of callers that gets the target before everybody else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 63), regex(pattern = LABEL))]
    pub preview: Option<String>,

    /// When everybody gets the target. Manual: when somebody promotes it. After: after some time.
    #[serde(default)]
    pub promotion: Promotion,

    /// How long the preview lasts, such as 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 16), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(HOLD_RULE).message(HOLD_BOUNDS))]
    pub after: Option<String>,
}

/// When everybody gets the target.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Promotion {
    /// When somebody promotes it.
    #[default]
    Manual,
    /// After some time.
    After,
}

/// What happens when the analysis fails.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum OnFailure {
    /// All traffic goes back to the version that had it.
    #[default]
    Rollback,
    /// Everything stays as it is until somebody decides.
    Pause,
}
