//! `NodeReport`: what one node's agent achieved. Agents write it, the operator and people read it.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::Reason;

/// The largest number of policies that a report speaks of.
pub const MAX_POLICIES: usize = 5_000;
/// The largest number of letters in a report's text.
pub const MAX_TEXT: usize = 512;

/// Nothing: a report is all status.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "NodeReport",
    doc = "What Sluice's agent on one node achieved. It bears the node's name and goes with the node.",
    category = "sluice",
    status = "NodeReportStatus",
    printcolumn = r#"{"name": "Ready", "type": "boolean", "jsonPath": ".status.ready"}"#,
    printcolumn = r#"{"name": "Agent", "type": "string", "jsonPath": ".status.agent"}"#,
    printcolumn = r#"{"name": "Kernel", "type": "string", "jsonPath": ".status.kernel"}"#,
    printcolumn = r#"{"name": "Drift", "type": "integer", "jsonPath": ".status.drift", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct NodeReportSpec {}

/// What one node's agent achieved.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReportStatus {
    /// Version of the agent.
    #[schemars(length(max = 64))]
    pub agent: String,
    /// Release of the kernel that the agent runs on.
    #[schemars(length(max = 128))]
    pub kernel: String,
    /// Which start of the machine the report is about, as the kernel names it: a node that starts anew
    /// has empty maps.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub boot: String,
    /// Whether the agent has seen everything once and a connect of its own was steered.
    pub ready: bool,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
    /// How often something in the maps was found changed by others, and was put right.
    #[serde(default)]
    pub drift: u64,
    /// What became of each policy on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 5_000),
        // One writer: kept as a map, each entry would be listed once more in `managedFields`.
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub policies: Vec<PolicyReport>,
    /// How full each map is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub maps: Vec<MapUse>,
}

/// What became of one policy on one node.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// Kind of the policy.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Namespace of the policy.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the policy.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The policy's UID: one that was deleted and made again is another.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation that the rest of this entry is about.
    pub generation: i64,
    /// Whether the kernel holds that generation.
    pub programmed: bool,
    /// How many backends a connect can reach through the policy, on the port that has most.
    pub backends: u32,
    /// Why it is programmed, or not.
    #[schemars(with = "String", length(max = 64))]
    pub reason: Reason,
    /// More about the reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
}

/// How full one map is.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapUse {
    /// Name of the map.
    #[schemars(length(max = 64))]
    pub name: String,
    /// Entries in use.
    pub used: u64,
    /// Entries that it can hold.
    pub capacity: u64,
}
