//! How near callers stay: what topology hints ask for, as kube-proxy understands them.
//!
//! Hints are all or nothing. Those for nodes are kept when every ready endpoint has some and one of
//! them names this node; else those for zones by the same rule; else none are, so that hints which
//! are incomplete, or of which this node has no share, never cut a caller off.

use crate::{
    facts::endpoints::{Hints, Mark},
    index::Snapshot,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Node,
    Zone,
    Cluster,
}

impl Level {
    pub(super) fn admits(self, snapshot: Snapshot<'_>, hints: Option<&Hints>) -> bool {
        match self {
            Self::Node => nodes(hints).iter().any(|node| snapshot.is_own_node(*node)),
            Self::Zone => zones(hints).iter().any(|zone| snapshot.is_own_zone(*zone)),
            Self::Cluster => true,
        }
    }
}

/// The nearest level that the ready endpoints' hints can be kept at.
pub(super) fn level<'a>(
    snapshot: Snapshot<'_>,
    ready: impl Iterator<Item = Option<&'a Hints>>,
) -> Level {
    let (mut all_for_nodes, mut all_for_zones) = (true, true);
    let (mut this_node, mut this_zone) = (false, false);
    for hints in ready {
        all_for_nodes &= !nodes(hints).is_empty();
        all_for_zones &= !zones(hints).is_empty();
        if !all_for_nodes && !all_for_zones {
            return Level::Cluster;
        }
        this_node |= Level::Node.admits(snapshot, hints);
        this_zone |= Level::Zone.admits(snapshot, hints);
    }
    if all_for_nodes && this_node {
        Level::Node
    } else if all_for_zones && this_zone {
        Level::Zone
    } else {
        Level::Cluster
    }
}

fn nodes(hints: Option<&Hints>) -> &[Mark] {
    hints.map_or(&[], |hints| &hints.nodes)
}

fn zones(hints: Option<&Hints>) -> &[Mark] {
    hints.map_or(&[], |hints| &hints.zones)
}
