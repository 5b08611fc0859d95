//! What was observed of a TrafficSplit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MAX_VERSIONS, analysis::MAX_CHECKS};
use crate::{
    conditions::Reason,
    policy::{MAX_CONDITIONS, NodesStatus},
};

/// What was observed of a TrafficSplit.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSplitStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What each version was asked to get and what it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_VERSIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub versions: Vec<VersionStatus>,

    /// What each version gets, in one line, such as "stable 90.0%, canary 10.0%".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 1280))]
    pub shares: Option<String>,

    /// How far the rollout is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,

    /// What became of the last command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandStatus>,

    /// How far the nodes are with the generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesStatus>,

    /// Accepted, ResolvedRefs, Programmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_CONDITIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// What one version was asked to get and what it gets.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Name of the version.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The weight that was asked for.
    pub weight: u32,
    /// The weight that acts.
    pub effective: u32,
    /// The part of the connections that goes to the version, or is refused in its name.
    #[schemars(length(max = 16))]
    pub share: String,
    /// The number of its ready endpoints.
    pub ready: u32,
    /// Why `effective` is what it is.
    #[schemars(with = "String", length(max = 64))]
    pub reason: Reason,
}

/// How far a rollout is.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The version that is to get all traffic.
    #[schemars(length(max = 63))]
    pub target: String,
    /// The version that had all traffic before, and gets it back on a rollback.
    #[schemars(length(max = 63))]
    pub holder: String,
    /// What is rolled out, as the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub revision: Option<String>,
    /// Progressing, Paused, Completed, RolledBack or Aborted.
    pub state: RolloutState,
    /// The step that holds now, counted from 1.
    pub step: u32,
    /// The number of steps.
    pub of: u32,
    /// Since when this step holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the next step begins, if nothing stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// What each check says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_CHECKS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub checks: Vec<CheckStatus>,
}

/// What a rollout is doing.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum RolloutState {
    /// Steps follow each other.
    Progressing,
    /// It waits for somebody.
    Paused,
    /// The target has all traffic.
    Completed,
    /// A check failed, and the holder has all traffic again.
    RolledBack,
    /// Somebody ended it, and the holder has all traffic again.
    Aborted,
}

/// What one check of a rollout says.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Name of the check.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The last value, absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub value: Option<String>,
    /// How many values in a row were above what is fine.
    pub failures: u32,
}

/// What became of a command.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandStatus {
    /// The annotation's value.
    #[schemars(length(max = 128))]
    pub command: String,
    /// Whether it was done.
    pub done: bool,
    /// Why it was not, or what it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
}
