//! `TrafficSplit`: one Service's connections, shared out over versions by weight.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

mod analysis;
mod caller;
mod rollout;
mod shift;
mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    pattern::{LABEL, LABEL_KEYS_RULE, LABEL_VALUE, SERVICE},
    port::MAX_SERVICE_PORTS,
};

pub use crate::{
    choice::{Balancing, Selection, WhenUnavailable},
    pattern::LABEL_KEYS,
    policy::NodesStatus,
    port::MAX_SERVICE_PORTS as MAX_PORTS,
    selector::MAX_LABELS,
};
pub use analysis::{
    ANALYSIS_BOUNDS, Analysis, AnalysisCheck, KernelSignal, MAX_CHECKS, MAX_FAILURES, ONE_SIGNAL,
    PrometheusSignal, Signal,
};
pub use caller::{
    CALLER_PEERS_IN_ALL, CallerClass, MAX_CALLER_PEERS, MAX_CALLERS, NO_CALLER_WEIGHT,
};
pub use rollout::{
    AFTER_FITS, BlueGreen, Canary, HOLD_BOUNDS, MAX_STEPS, ONE_STRATEGY, ONE_WAIT, OnFailure,
    Promotion, Rollout, Step,
};
pub use shift::{Connections, DRAIN_FITS, DRAIN_PACE, Drain, OnShift};
pub use status::{
    CheckStatus, CommandStatus, RolloutState, RolloutStatus, TrafficSplitStatus, VersionStatus,
};

/// The largest weight of a version.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// The largest number of versions in one split.
pub const MAX_VERSIONS: usize = 16;

/// What is said of a split whose versions get nothing.
pub const NO_WEIGHT: &str = "at least one version needs a weight above 0";
/// What is said of a version with two kinds of backends, or with none.
pub const ONE_SOURCE: &str = "a version has either `service` or `pods`";
/// What is said of callers whose weights name what is no version.
pub const WEIGHTS_NAME_VERSIONS: &str = "`weights` of callers name versions of the split";
/// What is said of a rollout to what is no version.
pub const TARGET_IS_VERSION: &str = "`rollout.target` is a version of the split";
/// What is said of a preview for callers that there are none of.
pub const PREVIEW_IS_CLASS: &str =
    "`rollout.blueGreen.preview` is the name of a class of `callers`";

const PEERS_RULE: &str = "!has(self.callers) || self.callers.map(c, size(c.from)).sum() <= 64";
const WEIGHTS_RULE: &str = "!has(self.callers) || self.callers.all(c, \
    c.weights.all(name, self.versions.exists(v, v.name == name)))";
const TARGET_RULE: &str =
    "!has(self.rollout) || self.versions.exists(v, v.name == self.rollout.target)";
const PREVIEW_RULE: &str = "!has(self.rollout) || !has(self.rollout.blueGreen) \
    || !has(self.rollout.blueGreen.preview) \
    || has(self.callers) && self.callers.exists(c, c.name == self.rollout.blueGreen.preview)";

/// What is to become of the connections.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "TrafficSplit",
    doc = "Shares the connections to one Service out over versions, by weight.",
    namespaced,
    shortname = "split",
    category = "sluice",
    status = "TrafficSplitStatus",
    selectable = ".spec.service",
    printcolumn = r#"{"name": "Service", "type": "string", "jsonPath": ".spec.service"}"#,
    printcolumn = r#"{"name": "Shares", "type": "string", "jsonPath": ".status.shares"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.versions.exists(v, v.weight > 0)").message(NO_WEIGHT),
    validation = Rule::new(PEERS_RULE).message(CALLER_PEERS_IN_ALL),
    validation = Rule::new(WEIGHTS_RULE).message(WEIGHTS_NAME_VERSIONS),
    validation = Rule::new(TARGET_RULE).message(TARGET_IS_VERSION),
    validation = Rule::new(PREVIEW_RULE).message(PREVIEW_IS_CLASS)
)]
pub struct TrafficSplitSpec {
    /// Name of the Service whose connections are split. It is in the split's own namespace and has
    /// a cluster IP. The admission webhook fills in the split's own name where it is left out.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = SERVICE)
    )]
    pub service: String,

    /// The Service's ports that are split, by name or by number. All of them when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_SERVICE_PORTS),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub ports: Vec<String>,

    /// The versions, keyed by name.
    #[schemars(
        length(min = 1, max = MAX_VERSIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub versions: Vec<Version>,

    /// Callers with weights of their own. The first class that a caller is in counts; who is in none
    /// gets the versions by their own weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_CALLERS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub callers: Vec<CallerClass>,

    /// How a connection gets its version. Sequence: in turn, by a schedule that is never more than
    /// one connection away from the exact share. Random: at random. Sticky: a client keeps its
    /// version, and a change of weights moves as few clients as it can.
    #[serde(default)]
    pub selection: Selection,

    /// How a connection gets its backend in the version. RoundRobin: in turn. Random: at random.
    /// LeastConnections: the better of two, by their open connections. Consistent: a client keeps
    /// its backend while that one is there. As the Service's annotation `sluice.dev/balancing` says
    /// when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Balancing")]
    pub balancing: Option<Balancing>,

    /// What becomes of the share of a version that has no usable endpoint. Redistribute: the other
    /// versions get it, in proportion to their weights. Reject: it is refused.
    #[serde(default)]
    pub when_unavailable: WhenUnavailable,

    /// Whether no version gets a larger share than its ready pods could carry, compared with those
    /// of the version that has the traffic. When left out, it is so during a rollout only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub cap_by_readiness: Option<bool>,

    /// What becomes of TCP connections that are open when weights change. They stay when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OnShift")]
    pub on_shift: Option<OnShift>,

    /// A rollout to one of the versions. The weights above say where it starts. Agents cannot do this yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Rollout")]
    pub rollout: Option<Rollout>,
}

/// A named group of backends with one weight: a Service's endpoints or a part of the split's own.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) != has(self.pods)").message(ONE_SOURCE))]
pub struct Version {
    /// Name of the version, unique in the split.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = LABEL)
    )]
    pub name: String,

    /// Name of the Service, in the split's namespace, that lends its endpoints to the version. It
    /// may be headless, and it may be the split's own Service. Splits on it do not matter here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(min = 1, max = 63),
        regex(pattern = SERVICE)
    )]
    pub service: Option<String>,

    /// The version's pods among those of the split's own Service, instead of a Service of its own.
    /// The operator keeps a headless Service for them, by which Kubernetes finds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Pods")]
    pub pods: Option<Pods>,

    /// The version's weight in relation to the other versions, however many endpoints it has.
    #[schemars(range(max = MAX_WEIGHT))]
    pub weight: u32,
}

/// A part of a Service's pods.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Labels that a pod needs besides those that the Service asks for. All of them.
    #[schemars(extend(
        "minProperties" = 1,
        "maxProperties" = MAX_LABELS,
        "additionalProperties" = {
            "type": "string",
            "maxLength": 63,
            "pattern": LABEL_VALUE,
        },
    ))]
    #[x_kube(validation = Rule::new(LABEL_KEYS_RULE).message(LABEL_KEYS))]
    pub match_labels: BTreeMap<String, String>,
}
