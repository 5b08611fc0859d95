//! `FrontendGrant`: which namespaces may claim which addresses.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{policy::MAX_CONDITIONS, port::Protocol, selector::Selector};

/// The largest number of ranges of addresses.
pub const MAX_RANGES: usize = 64;
/// The largest number of ranges of ports.
pub const MAX_PORT_RANGES: usize = 32;

/// What is said of text that is no range of addresses.
pub const RANGE: &str =
    "a range such as 192.0.2.0/24 or 2001:db8::/32, with no bit set behind the prefix";
/// What is said of a range that ends before it begins.
pub const PORT_ORDER: &str = "`endPort` is not below `port`";
/// What is said of a grant to whom nothing names.
pub const NAMESPACES_NAMED: &str =
    "`matchLabels` or `matchExpressions` say which namespaces are meant";

const NAMESPACES_NAMED_RULE: &str = "has(self.matchLabels) || has(self.matchExpressions)";
const RANGE_RULE: &str = "self.all(range, isCIDR(range) && cidr(range) == cidr(range).masked())";

/// Who may claim what. Without a grant nobody may claim an address that is not a Service's.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "FrontendGrant",
    doc = "Lets policies of some namespaces claim addresses as frontends. It is the cluster admin's.",
    category = "sluice",
    status = "GrantStatus",
    printcolumn = r#"{"name": "Addresses", "type": "string", "jsonPath": ".spec.addresses"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct FrontendGrantSpec {
    /// The namespaces whose policies may claim, by their labels. Every namespace is meant by the expression
    /// `{key: kubernetes.io/metadata.name, operator: Exists}`; `{}`, which is what is left of a
    /// misspelt selector, is refused.
    #[x_kube(validation = Rule::new(NAMESPACES_NAMED_RULE).message(NAMESPACES_NAMED))]
    pub namespaces: Selector,

    /// Ranges of addresses that may be claimed. Addresses of nodes, of Services of other namespaces
    /// and of the API server stay out of reach even inside them; that of the DNS Service does so
    /// unless a range names it alone.
    #[schemars(
        length(min = 1, max = MAX_RANGES),
        inner(length(min = 1, max = 49)),
        extend("x-kubernetes-list-type" = "set")
    )]
    #[x_kube(validation = Rule::new(RANGE_RULE).message(RANGE))]
    pub addresses: Vec<String>,

    /// Ports that may be claimed at these addresses. All when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Vec<PortRange>",
        length(min = 1, max = MAX_PORT_RANGES),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub ports: Option<Vec<PortRange>>,
}

/// One port, or some in a row.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.endPort) || self.endPort >= self.port").message(PORT_ORDER))]
pub struct PortRange {
    /// The port, or the first of the range.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,

    /// The last port of the range. It is one port when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16", range(min = 1, max = 65_535))]
    pub end_port: Option<u16>,

    /// TCP or UDP. Both when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Protocol")]
    pub protocol: Option<Protocol>,
}

/// What was observed of a FrontendGrant.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_CONDITIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}
