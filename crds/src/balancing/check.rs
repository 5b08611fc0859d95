//! How a node finds out whether an address is usable.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::DURATION;

/// The largest number of answers in a row that a change can be made to need.
pub const MAX_COUNT: u8 = 100;
/// How often an address is asked when nothing is said.
pub const CHECK_INTERVAL: &str = "5s";
/// How long an answer may take when nothing is said.
pub const CHECK_TIMEOUT: &str = "1s";

/// What is said of a check of both kinds, or of none.
pub const ONE_CHECK: &str = "a check is either `tcp` or `http`";
/// What is said of an interval that is too short or too long: every node asks every address, from its own
/// network, and whoever writes the policy chooses whom.
pub const INTERVAL_BOUNDS: &str = "from 1s to 1h";
/// What is said of a time-out that is too short or too long.
pub const TIMEOUT_BOUNDS: &str = "from 100ms to 1h";
/// What is said of a time-out that is not over when the next try begins.
pub const TIMEOUT_BELOW: &str = "`timeout` is at most `interval`";

const INTERVAL_RULE: &str = "duration(self) >= duration('1s') && duration(self) <= duration('1h')";
const TIMEOUT_BOUNDS_RULE: &str =
    "duration(self) >= duration('100ms') && duration(self) <= duration('1h')";
const TIMEOUT_RULE: &str =
    "duration(self.?timeout.orValue('1s')) <= duration(self.?interval.orValue('5s'))";

/// What is asked of an address, and when the answer counts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tcp) != has(self.http)").message(ONE_CHECK),
    validation = Rule::new(TIMEOUT_RULE).message(TIMEOUT_BELOW)
)]
pub struct Check {
    /// A connection is enough: `tcp: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TcpCheck")]
    pub tcp: Option<TcpCheck>,

    /// A GET is answered with a status below 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "HttpCheck")]
    pub http: Option<HttpCheck>,

    /// From one try to the next. 5s when left out.
    #[serde(default = "interval", skip_serializing_if = "is_interval")]
    #[schemars(length(max = 16), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(INTERVAL_RULE).message(INTERVAL_BOUNDS))]
    pub interval: String,

    /// How long the answer may take. 1s when left out.
    #[serde(default = "timeout", skip_serializing_if = "is_timeout")]
    #[schemars(length(max = 16), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new(TIMEOUT_BOUNDS_RULE).message(TIMEOUT_BOUNDS))]
    pub timeout: String,

    /// Failures in a row after which the address gets nothing. 3 when left out.
    #[serde(default = "three", skip_serializing_if = "is_three")]
    #[schemars(range(min = 1, max = MAX_COUNT))]
    pub unhealthy_after: u8,

    /// Answers in a row after which it gets its share again. 2 when left out.
    #[serde(default = "two", skip_serializing_if = "is_two")]
    #[schemars(range(min = 1, max = MAX_COUNT))]
    pub healthy_after: u8,
}

/// A connection.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpCheck {}

/// A request.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// The path that is asked for. / when left out.
    #[serde(default = "root", skip_serializing_if = "is_root")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[!-~]*$"))]
    pub path: String,
}

fn interval() -> String {
    CHECK_INTERVAL.to_owned()
}

fn is_interval(text: &str) -> bool {
    text == CHECK_INTERVAL
}

fn timeout() -> String {
    CHECK_TIMEOUT.to_owned()
}

fn is_timeout(text: &str) -> bool {
    text == CHECK_TIMEOUT
}

const fn three() -> u8 {
    3
}

fn is_three(count: &u8) -> bool {
    *count == three()
}

const fn two() -> u8 {
    2
}

fn is_two(count: &u8) -> bool {
    *count == two()
}

fn root() -> String {
    "/".to_owned()
}

fn is_root(path: &str) -> bool {
    path == "/"
}
