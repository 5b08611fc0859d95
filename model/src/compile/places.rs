//! What tells addresses and callers apart, whatever Services there are.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    desired::{Treatment, Whose},
    facts,
    index::Snapshot,
};

/// The addresses of every node.
pub fn nodes(snapshot: Snapshot<'_>) -> BTreeMap<IpAddr, Whose> {
    let mut addresses = BTreeMap::new();
    for (key, node) in snapshot.nodes() {
        let own = snapshot.own_node() == Some(key);
        for ip in &node.addresses {
            let whose = addresses.entry(*ip).or_insert(Whose::Other);
            if own {
                *whose = Whose::Own;
            }
        }
    }
    addresses
}

/// The pods of this node that are not ordinary callers. One that is not known yet is ordinary. Those in
/// the host's network are told apart too, since they share its addresses and namespace.
pub fn callers(snapshot: Snapshot<'_>) -> BTreeMap<u64, Treatment> {
    let pods = snapshot.callers().filter_map(|(cgroup, key, pod)| {
        let namespace = snapshot.namespace(key.0.namespace());
        let namespace = namespace.map(|namespace| &namespace.labels);
        let opted_out = pod.opted_out || facts::opts_out(namespace);
        let treatment = Treatment {
            opted_out,
            ..Treatment::default()
        };
        (opted_out || pod.host_network).then_some((cgroup, treatment))
    });
    pods.collect()
}
