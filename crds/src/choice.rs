//! How a connection gets its version and its backend: what several kinds let one choose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a connection gets its version.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Selection {
    /// In turn, by a schedule that is never more than one connection away from the exact share.
    #[default]
    Sequence,
    /// At random.
    Random,
    /// By client: it keeps its version, and a change of weights moves as few clients as it can.
    Sticky,
}

/// How a connection gets its backend once the version is known.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Balancing {
    /// In turn.
    #[default]
    RoundRobin,
    /// At random.
    Random,
    /// The better of two, by the connections that are open now.
    LeastConnections,
    /// By client: it keeps its backend while that one is there.
    Consistent,
}

/// What becomes of the share of a version that has no usable endpoint.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum WhenUnavailable {
    /// The other versions get it, in proportion to their weights.
    #[default]
    Redistribute,
    /// It is refused: 80 % weight to nothing refuses 80 % of the connections.
    Reject,
}
