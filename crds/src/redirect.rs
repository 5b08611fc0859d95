//! `LocalRedirectPolicy`: connections to a Service or an address go to pods of the client's own node.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    frontend::Frontend,
    peer::{MAX_PEERS, Peer},
    policy::PolicyStatus,
    port::{BackendPort, MAX_PORTS},
    selector::Selector,
};

/// The largest limit of connections in a second.
pub const MAX_PER_SECOND: u32 = 1_000_000;

/// What is said of backends that are all pods of a namespace.
pub const PODS_NAMED: &str = "`matchLabels` or `matchExpressions` say which pods are meant";
/// What is said of ports that the Service or the address does not lead to.
pub const PORTS_LED_TO: &str = "each port of the address has a backend's port of its name";

const PODS_NAMED_RULE: &str = "has(self.matchLabels) || has(self.matchExpressions)";
const PORTS_LED_TO_RULE: &str = "!has(self.frontend.address) \
    || self.frontend.address.ports.all(p, self.backend.ports.exists(b, b.name == p.name))";

/// Which connections stay on the node, and where they go there.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "LocalRedirectPolicy",
    plural = "localredirectpolicies",
    doc = "Sends connections to a Service or an address to pods of the client's own node.",
    namespaced,
    shortname = "lrp",
    category = "sluice",
    status = "PolicyStatus",
    selectable = ".spec.frontend.service.name",
    selectable = ".spec.frontend.address.ip",
    printcolumn = r#"{"name": "Service", "type": "string", "jsonPath": ".spec.frontend.service.name"}"#,
    printcolumn = r#"{"name": "Address", "type": "string", "jsonPath": ".spec.frontend.address.ip"}"#,
    printcolumn = r#"{"name": "Fallback", "type": "string", "jsonPath": ".spec.fallback"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(PORTS_LED_TO_RULE).message(PORTS_LED_TO))]
pub struct LocalRedirectPolicySpec {
    /// What callers connect to.
    pub frontend: Frontend,

    /// Where the connections go instead.
    pub backend: LocalBackend,

    /// What becomes of a connection when no backend on its node is ready. Cluster: it goes where it
    /// would without the policy. Reject: it is refused.
    #[serde(default)]
    pub fallback: Fallback,

    /// Whose connections are meant: of a pod that one of the peers fits. All when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Vec<Peer>",
        length(min = 1, max = MAX_PEERS),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub clients: Option<Vec<Peer>>,

    /// The nodes on which the policy holds, by their labels. All when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Selector")]
    pub nodes: Option<Selector>,

    /// Whether a backend's own connections to the frontend go where they would without the policy,
    /// lest they come back to it.
    #[serde(default = "yes")]
    pub skip_own_traffic: bool,

    /// The largest number of connections in a second that stay on a node; what is above goes where
    /// it would without the policy. No limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = MAX_PER_SECOND))]
    pub max_per_second: Option<u32>,
}

/// Pods of the client's node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalBackend {
    /// Pods of the policy's namespace, by their labels; those of the client's node that are ready.
    #[x_kube(validation = Rule::new(PODS_NAMED_RULE).message(PODS_NAMED))]
    pub pods: Selector,

    /// Where each port of the frontend is found on these pods, keyed by the frontend's port.
    #[schemars(
        length(min = 1, max = MAX_PORTS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub ports: Vec<BackendPort>,
}

/// What becomes of a connection that cannot stay on its node.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Fallback {
    /// It goes where it would without the policy.
    #[default]
    Cluster,
    /// It is refused.
    Reject,
}

const fn yes() -> bool {
    true
}
