//! What was observed of a policy: the status that kinds have in common.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest number of conditions of one object.
pub const MAX_CONDITIONS: usize = 16;

/// What was observed of a policy.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

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

/// How far the nodes are with a generation.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodesStatus {
    /// Nodes that should have the generation.
    pub desired: u32,
    /// Nodes that reported it as written to the kernel.
    pub programmed: u32,
    /// Nodes that reported that they could not write it.
    pub failed: u32,
    /// The oldest generation that a node's kernel still holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_generation: Option<i64>,
}
