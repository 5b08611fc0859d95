//! A port whose split's weights have shifted: who of its connections is with which version, and where each would be now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sluice_crds::split::Selection;
use sluice_model::{
    desired::{Desired, Port},
    index::Snapshot,
    key::ServiceKey,
    shift::{Connection, pools::Pools},
    table,
};
use sluice_node_abi::slots;

use super::{
    judge,
    shifts::{Class, Live, PortKey, classes},
};
use crate::diag::Connected;

/// A port with a shift under way: what tells its connections apart.
#[derive(Debug)]
pub struct Moving {
    pub(super) key: PortKey,
    /// One for each version, and one for what is no version's any more.
    pools: Pools,
    /// Of classes whose versions all have endpoints: what happens to fail now ends nothing.
    pub(super) shares: BTreeMap<Class, Vec<u64>>,
    /// Where clients keep their version: the pool of each place that they fall on.
    homes: BTreeMap<Class, Vec<Option<usize>>>,
    /// By the cgroups of pods.
    classes: BTreeMap<u64, Class>,
    opted_out: BTreeSet<u64>,
}

impl Moving {
    /// `left` are the Services whose endpoints were versions' before.
    pub fn of(
        key: &ServiceKey,
        port: &Port,
        left: &BTreeSet<ServiceKey>,
        desired: &Desired,
        snapshot: Snapshot<'_>,
    ) -> Self {
        let versions = port.versions.iter();
        let versions = versions.map(|version| judge::backends(port.id, version, snapshot));
        let mut versions: Vec<_> = versions.collect();
        let gone = left.iter();
        let gone = gone.flat_map(|service| judge::endpoints(port.id, service, snapshot));
        let is_still = |backend: &_| versions.iter().any(|version| version.contains(backend));
        versions.push(gone.filter(|backend| !is_still(backend)).collect());
        let pools = Pools::of(&versions);
        // Until each version that is to have a share can have it, shares are not those that were asked for.
        let shares = classes(port).filter(|(class, _)| {
            let asked = port.asked(*class).into_iter().zip(&port.versions);
            let mut asked = asked.filter(|(weight, _)| weight.get() > 0);
            asked.all(|(_, version)| version.is_available())
        });
        let shares = shares.map(|(class, name)| {
            let entries = table::of_port(port, class).entries.into_iter();
            let taken = entries.map(|share| u64::from(if share.refuses { 0 } else { share.slots }));
            (name, pools.shares(taken))
        });
        let homes = classes(port).filter(|_| port.selection == Selection::Sticky);
        let homes = homes.map(|(class, name)| {
            let places = table::places(&port.versions, &port.weights(class), port.when_unavailable);
            let places = places.into_iter();
            (
                name,
                places
                    .map(|version| pools.of_version(version.into()))
                    .collect(),
            )
        });
        let homes = homes.collect();
        let callers = || desired.callers.iter();
        let named = callers().filter_map(|(pod, treatment)| {
            let class = port.classes.get(port.class_of(Some(treatment))?)?;
            Some((*pod, Some(Arc::clone(&class.name))))
        });
        let opted_out = callers().filter(|(_, treatment)| treatment.opted_out);
        Self {
            key: (key.clone(), port.id),
            shares: shares.collect(),
            homes,
            classes: named.collect(),
            opted_out: opted_out.map(|(pod, _)| *pod).collect(),
            pools,
        }
    }

    /// Adds the connection of this client, if the shift has to do with it. A pod that nothing is different about need not be
    /// named.
    pub fn add_to(&self, live: &mut Live, socket: &Connected, client: u64, pod: Option<u64>) {
        let (Some(state), Some(pool)) = (&socket.state, self.pools.of_backend(&socket.peer()))
        else {
            return;
        };
        if pod.is_some_and(|pod| self.opted_out.contains(&pod)) {
            return;
        }
        let class = pod.and_then(|pod| self.classes.get(&pod).cloned().flatten());
        let homes = self.homes.get(&class);
        let home = homes.and_then(|homes| homes.get(slots::place(client) as usize));
        let port = live.entry(self.key.clone()).or_default();
        port.entry(class).or_default().push(Connection {
            cookie: socket.cookie(),
            pool,
            home: home.copied().flatten(),
            since: Duration::from_nanos(state.since),
        });
    }
}
