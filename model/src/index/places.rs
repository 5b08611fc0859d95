//! Nodes, pods and namespaces in the index: what tells addresses and callers apart.

use super::{Index, replace};
use crate::{
    facts::{endpoints::Mark, namespace, node, pod},
    key::{NamespaceKey, NodeKey, PodKey},
};

impl Index {
    pub(super) fn put_pod(&mut self, key: &PodKey, fact: Option<pod::Fact>) {
        self.dirty_places.callers |= replace(&mut self.pods, key, fact).is_some();
    }

    pub(super) fn put_node(&mut self, key: &NodeKey, fact: Option<node::Fact>) {
        let new = fact.as_ref().map(|fact| fact.addresses.clone());
        let Some(old) = replace(&mut self.nodes, key, fact) else {
            return;
        };
        let old = old.map(|fact| fact.addresses);
        for ip in old.iter().flatten() {
            self.nodes_at.remove(ip, key);
        }
        for ip in new.iter().flatten() {
            self.nodes_at.add(*ip, key.clone());
        }
        self.touch_claims_at(old.iter().chain(&new).flatten());
        self.dirty_places.nodes = true;
        if let Some(own) = self.own_node.as_mut().filter(|own| own.key == *key) {
            let zone = zone_of(self.nodes.get(key));
            if own.zone != zone {
                own.zone = zone;
                // A node hardly ever moves, so nobody keeps track of whom it would matter to.
                self.dirty.extend(self.services.keys().cloned());
            }
        }
    }

    pub(super) fn put_namespace(&mut self, key: &NamespaceKey, fact: Option<namespace::Fact>) {
        if replace(&mut self.namespaces, key, fact).is_some() {
            self.dirty_places.callers = true;
            self.touch_granted(Some(key));
        }
    }
}

pub(super) fn zone_of(node: Option<&node::Fact>) -> Mark {
    let zone = node.and_then(|node| node.zone.as_deref());
    Mark::of(zone.unwrap_or_default())
}
