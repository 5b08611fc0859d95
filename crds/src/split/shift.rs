//! What becomes of connections that are open when weights change.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DURATION, PERCENT};

/// What is said of a drain without its pace, or of a pace without a drain.
pub const DRAIN_FITS: &str =
    "`drain` says how when `connections` is Drain, and is absent otherwise";
/// What is said of a pace of nothing.
pub const DRAIN_PACE: &str = "above 0%";

/// What becomes of open connections to a version whose share shrinks.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.drain) == (self.connections == 'Drain')").message(DRAIN_FITS)
)]
pub struct OnShift {
    /// Keep: they stay until they end by themselves. Drain: those above the new share are ended
    /// little by little. Cut: those above the new share are ended at once. Who comes back is chosen by the
    /// new weights, and not moved again.
    #[serde(default)]
    pub connections: Connections,

    /// How fast connections are drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Drain")]
    pub drain: Option<Drain>,
}

/// How fast connections are drained.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// The part that is ended in each minute, such as 20%: of those connections of a node that are above the new share when
    /// the weights change.
    #[schemars(length(max = 16), regex(pattern = PERCENT))]
    #[x_kube(validation = Rule::new("self.matches('[1-9]')").message(DRAIN_PACE))]
    pub per_minute: String,

    /// The longest random delay of a single end, lest clients come back all at once. None when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 16), regex(pattern = DURATION))]
    pub jitter: Option<String>,
}

/// What becomes of open connections.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Connections {
    /// They stay until they end by themselves.
    #[default]
    Keep,
    /// Those above the new share are ended little by little.
    Drain,
    /// Those above the new share are ended at once.
    Cut,
}
