//! What tells addresses apart: rows of their own, which nothing refers to.

use std::{collections::BTreeMap, net::IpAddr};

use sluice_node_abi::{
    keys, maps,
    values::{NodeAddress, node},
};

use super::Lowered;
use crate::{
    desired::Whose,
    ids::Full,
    image::{Entry, Place},
};

impl Lowered {
    /// Lowers the addresses of nodes. When there are too many, those that are first in order are
    /// taken, so that a node keeps what it has.
    pub fn set_nodes(&mut self, nodes: &BTreeMap<IpAddr, Whose>) -> Result<(), Full> {
        let capacity = self.ids.capacities().nodes;
        let wanted = nodes.iter().take(capacity as usize);
        let wanted = wanted.map(|(ip, whose)| (keys::address(*ip), row(*whose)));
        let wanted: BTreeMap<_, _> = wanted.collect();
        let known = self.image.nodes.keys().copied();
        let gone: Vec<_> = known
            .filter(|address| !wanted.contains_key(address))
            .collect();
        for address in gone {
            self.delete(Place::Node(address));
        }
        for (address, row) in &wanted {
            if self.image.nodes.get(address) != Some(row) {
                self.put(&Entry::Node(*address, *row));
            }
        }
        if wanted.len() < nodes.len() {
            return Err(Full {
                map: maps::NODES,
                capacity,
            });
        }
        Ok(())
    }
}

fn row(whose: Whose) -> NodeAddress {
    NodeAddress {
        flags: match whose {
            Whose::Own => node::OWN,
            Whose::Other => 0,
        },
    }
}
