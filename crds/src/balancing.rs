//! `BalancingPolicy`: groups of backends behind a Service or an address, pods of this cluster or not.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

mod check;
mod group;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    choice::{Balancing, Selection, WhenUnavailable},
    frontend::Frontend,
    policy::PolicyStatus,
    selector::Selector,
};

pub use check::{
    CHECK_INTERVAL, CHECK_TIMEOUT, Check, HttpCheck, INTERVAL_BOUNDS, MAX_COUNT, ONE_CHECK,
    TIMEOUT_BELOW, TIMEOUT_BOUNDS, TcpCheck,
};
pub use group::Group;
pub use group::{
    Address, BACKEND_ADDRESS_RESERVED, CHECKED_ADDRESSES, GroupPods, MAX_ADDRESSES, MAX_PRIORITY,
    METADATA, ONE_GROUP_SOURCE, Via,
};

/// The largest number of groups.
pub const MAX_GROUPS: usize = 16;

/// What is said of a policy whose groups get nothing.
pub const NO_GROUP_WEIGHT: &str = "at least one group needs a weight above 0";

/// What is said of a policy with very many addresses.
pub const ADDRESSES_IN_ALL: &str = "at most 256 addresses in all groups together";

const ADDRESSES_RULE: &str =
    "self.backends.map(group, has(group.addresses) ? size(group.addresses) : 0).sum() <= 256";

/// Which backends stand behind a frontend, and how connections are shared out over them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "BalancingPolicy",
    plural = "balancingpolicies",
    doc = "Shares the connections to a Service or an address out over groups of backends, with failover.",
    namespaced,
    shortname = "balancing",
    category = "sluice",
    status = "PolicyStatus",
    selectable = ".spec.frontend.service.name",
    selectable = ".spec.frontend.address.ip",
    printcolumn = r#"{"name": "Service", "type": "string", "jsonPath": ".spec.frontend.service.name"}"#,
    printcolumn = r#"{"name": "Address", "type": "string", "jsonPath": ".spec.frontend.address.ip"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.backends.exists(group, group.weight > 0)").message(NO_GROUP_WEIGHT),
    validation = Rule::new(ADDRESSES_RULE).message(ADDRESSES_IN_ALL)
)]
pub struct BalancingPolicySpec {
    /// What callers connect to.
    pub frontend: Frontend,

    /// Groups of backends, keyed by name.
    #[schemars(
        length(min = 1, max = MAX_GROUPS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub backends: Vec<Group>,

    /// How a connection gets its group. Sequence: in turn, never more than one connection away from
    /// the exact share. Random: at random. Sticky: a client keeps its group.
    #[serde(default)]
    pub selection: Selection,

    /// How a connection gets its backend in the group. RoundRobin: in turn. Random: at random.
    /// LeastConnections: the better of two, by their open connections. Consistent: a client keeps
    /// its backend while that one is there.
    #[serde(default)]
    pub balancing: Balancing,

    /// What becomes of the share of a group that has no usable backend, once no tier after it has one.
    /// Redistribute: the other groups get it. Reject: it is refused.
    #[serde(default)]
    pub when_unavailable: WhenUnavailable,

    /// Where the policy holds. InCluster: on the cluster's nodes. OutOfCluster: on hosts whose agent
    /// reads files. Both: everywhere.
    #[serde(default)]
    pub hosts: Hosts,

    /// The nodes on which the policy holds, by their labels. All when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Selector")]
    pub nodes: Option<Selector>,
}

/// Where a policy holds.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Hosts {
    /// On the cluster's nodes.
    #[default]
    InCluster,
    /// On hosts whose agent reads files.
    OutOfCluster,
    /// Everywhere.
    Both,
}
