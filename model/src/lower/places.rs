//! What tells addresses and callers apart: rows of their own, which nothing refers to.

use std::{collections::BTreeMap, net::IpAddr};

use sluice_node_abi::{
    keys::{self, ClassKey},
    maps,
    values::{Caller, Class, NodeAddress, caller, node},
};

use super::Lowered;
use crate::{
    desired::{Treatment, Whose},
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

impl Lowered {
    /// Lowers the pods that are not ordinary callers; of too many, those that are first in order.
    pub fn set_callers(&mut self, callers: &BTreeMap<u64, Treatment>) -> Result<(), Full> {
        let capacity = self.ids.capacities().callers;
        let wanted = callers.iter().take(capacity as usize);
        let wanted = wanted.map(|(cgroup, treatment)| (*cgroup, caller_row(treatment)));
        let wanted: BTreeMap<_, _> = wanted.collect();
        let known = self.image.callers.keys().copied();
        let gone: Vec<_> = known
            .filter(|cgroup| !wanted.contains_key(cgroup))
            .collect();
        for cgroup in gone {
            self.delete(Place::Caller(cgroup));
        }
        for (cgroup, row) in &wanted {
            if self.image.callers.get(cgroup) != Some(row) {
                self.put(&Entry::Caller(*cgroup, *row));
            }
        }
        if wanted.len() < callers.len() {
            return Err(Full {
                map: maps::CALLERS,
                capacity,
            });
        }
        Ok(())
    }
}

impl Lowered {
    /// Says for each port that tells callers apart which table serves which pod. After Services and callers were
    /// lowered; of too many rows, those of the first tables in order are taken.
    pub fn set_classes(&mut self, callers: &BTreeMap<u64, Treatment>) -> Result<(), Full> {
        let capacity = self.ids.capacities().classes;
        let wanted = self.split_ports().flat_map(|(_, port)| {
            callers.iter().filter_map(|(cgroup, treatment)| {
                let (key, class) = port.class_row(*cgroup, treatment)?;
                Some((key, class))
            })
        });
        let all: BTreeMap<ClassKey, Class> = wanted.collect();
        let count = all.len();
        let wanted: BTreeMap<_, _> = all.into_iter().take(capacity as usize / 2).collect();
        let known = self.image.classes.keys().copied();
        let gone: Vec<_> = known.filter(|key| !wanted.contains_key(key)).collect();
        for key in gone {
            self.delete(Place::Class(key));
        }
        for (key, class) in &wanted {
            if self.image.classes.get(key) != Some(class) {
                self.put(&Entry::Class(*key, *class));
            }
        }
        self.reclassed = false;
        if wanted.len() < count {
            return Err(Full {
                map: maps::CLASSES,
                capacity,
            });
        }
        Ok(())
    }
}

fn caller_row(treatment: &Treatment) -> Caller {
    let Treatment {
        opted_out,
        classes: _,
    } = treatment;
    Caller {
        flags: if *opted_out { caller::OPTED_OUT } else { 0 },
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
