//! What tells addresses and callers apart, whatever Services there are.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::{
    desired::{Treatment, Whose},
    facts::{self, peer::Candidate, pod, split::CallerClass},
    index::Snapshot,
    key::{PodKey, SplitKey},
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
        let classes = if opted_out {
            BTreeMap::new()
        } else {
            classes(snapshot, key, pod, namespace)
        };
        let treatment = Treatment { opted_out, classes };
        let is_special = opted_out || pod.host_network || !treatment.classes.is_empty();
        is_special.then_some((cgroup, treatment))
    });
    pods.collect()
}

/// The class of a pod in each split that has one for it: the first that it is in.
fn classes(
    snapshot: Snapshot<'_>,
    key: &PodKey,
    pod: &pod::Fact,
    labels: Option<&BTreeMap<String, String>>,
) -> BTreeMap<SplitKey, Arc<str>> {
    let caller = Candidate {
        namespace: key.0.namespace(),
        namespace_labels: labels,
        labels: &pod.labels,
        service_account: &pod.service_account,
    };
    let splits = snapshot.splits_with_callers().filter_map(|(key, split)| {
        let own = key.0.namespace();
        let is_in = |class: &&CallerClass| class.from.iter().any(|peer| peer.is(own, &caller));
        let class = split.callers.iter().find(is_in)?;
        Some((key.clone(), Arc::clone(&class.name)))
    });
    splits.collect()
}
