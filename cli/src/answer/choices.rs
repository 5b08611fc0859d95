//! The answer of `/choices`: how often a node chose each version.

use serde::Deserialize;

/// One version of a split, on one port and family, for callers of one class. The number only grows while the agent runs.
#[derive(Clone, Debug, Deserialize)]
pub struct Choices {
    pub split: String,
    /// Absent for callers of no class.
    pub class: Option<String>,
    pub version: String,
    pub chosen: u64,
}
