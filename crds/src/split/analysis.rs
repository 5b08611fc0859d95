//! What is measured of the target while a rollout goes on.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    absent::is_default,
    pattern::{DECIMAL, DURATION, LABEL},
};

/// The largest number of checks.
pub const MAX_CHECKS: usize = 16;
/// The largest number of failures that a check can be allowed.
pub const MAX_FAILURES: u8 = 100;

/// What is said of a check of both kinds, or of none.
pub const ONE_SIGNAL: &str = "a check is either `kernel` or `prometheus`";
/// What is said of an interval that is too short or too long.
pub const ANALYSIS_BOUNDS: &str = "from 5s to 1h";

const ANALYSIS_RULE: &str = "duration(self) >= duration('5s') && duration(self) <= duration('1h')";

/// What is measured, and how often.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// From one look to the next, such as 30s.
    #[serde(default = "interval")]
    #[schemars(length(max = 16), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(ANALYSIS_RULE).message(ANALYSIS_BOUNDS))]
    pub interval: String,

    /// The checks, keyed by name. All of them have to hold.
    #[schemars(
        length(min = 1, max = MAX_CHECKS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub checks: Vec<AnalysisCheck>,
}

/// One check.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.kernel) != has(self.prometheus)").message(ONE_SIGNAL))]
pub struct AnalysisCheck {
    /// Name of the check, unique in the analysis.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// What the nodes' kernels saw of the target's connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KernelSignal")]
    pub kernel: Option<KernelSignal>,

    /// What a Prometheus says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PrometheusSignal")]
    pub prometheus: Option<PrometheusSignal>,

    /// The largest value that is fine, such as "0.01".
    #[schemars(length(max = 20), regex(pattern = DECIMAL))]
    pub max: String,

    /// Below so many connections in an interval nothing is decided. 0 when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(max = 1_000_000_000))]
    pub min_samples: u32,

    /// So many values in a row above `max` are a failure. 1 when left out.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = MAX_FAILURES))]
    pub failures: u8,
}

/// A value that kernels measure.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSignal {
    /// ConnectFailureRatio: connects that failed, of all. AbortRatio: connections that were reset,
    /// of all that ended. RoundTripSeconds: the mean time to the backend and back.
    pub signal: Signal,
}

/// What kernels measure.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Signal {
    /// Connects that failed, of all.
    ConnectFailureRatio,
    /// Connections that were reset, of all that ended.
    AbortRatio,
    /// The mean time to the backend and back.
    RoundTripSeconds,
}

/// A value that a Prometheus computes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrometheusSignal {
    /// Where it answers, a URL of http or https. The operator asks it, from its own network.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^https?://[A-Za-z0-9\[]([-A-Za-z0-9_.:\]]*)(/[!-~]*)?$")
    )]
    pub address: String,

    /// A query with one number as its answer.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
}

fn interval() -> String {
    "30s".to_owned()
}

const fn one() -> u8 {
    1
}

fn is_one(count: &u8) -> bool {
    *count == one()
}
