//! Where an endpoint is, and for whom it is meant.
//!
//! A cluster has a hundred thousand endpoints, and all that is ever asked of these names is whether
//! they are one's own. So they are kept as marks of eight bytes.

use k8s_openapi::api::discovery::v1::EndpointHints;

use crate::hash::fnv;

/// A name of a node or zone, reduced to 64 bits. The empty name is the mark of nothing and
/// equals no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark([u8; 8]);

impl Mark {
    pub const NONE: Self = Self([0; 8]);

    pub fn of(name: &str) -> Self {
        if name.is_empty() {
            return Self::NONE;
        }
        Self(fnv(name.bytes()).to_ne_bytes())
    }
}

/// Whose callers an endpoint is meant for. Empty: for everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub nodes: Vec<Mark>,
    pub zones: Vec<Mark>,
}

impl Hints {
    pub(super) fn parse(hints: Option<&EndpointHints>) -> Self {
        let Some(hints) = hints else {
            return Self::default();
        };
        let nodes = hints.for_nodes.iter().flatten();
        let zones = hints.for_zones.iter().flatten();
        Self {
            nodes: nodes.map(|node| Mark::of(&node.name)).collect(),
            zones: zones.map(|zone| Mark::of(&zone.name)).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.zones.is_empty()
    }
}
