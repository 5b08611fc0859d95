//! NodeReports, as the API has them.

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    pub metadata: Metadata,
    pub status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub agent: String,
    pub kernel: String,
    pub ready: bool,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub drift: u64,
    #[serde(default)]
    pub policies: Vec<Policy>,
}

/// What became of one policy on the node.
#[derive(Clone, Debug, Deserialize)]
pub struct Policy {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub generation: i64,
    pub programmed: bool,
    pub backends: u32,
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

/// The objects of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct List<T> {
    pub items: Vec<T>,
}
