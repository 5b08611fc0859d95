//! Which connections of this node end because a split's weights have shifted.
//!
//! A shift begins when the weights that are asked for change; that a version comes to have no endpoint, or some again, is
//! none, and neither is what the first look finds. It is over when nothing has been above its share for a while. An agent
//! that starts anew knows of no shift: what an earlier one had not ended yet stays open.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use sluice_crds::split::Selection;
use sluice_model::{
    desired::{Desired, Owner, Port, PortId},
    facts::split::{Shift, Weight},
    index::Snapshot,
    key::{self, ServiceKey},
    shift::{Connection, Course, View, pools::Pools},
    table,
};
use sluice_node_abi::slots;

use super::judge;
use crate::{agent::Agent, diag::Connected, maps::Maps};

/// A port of a Service.
pub type PortKey = (ServiceKey, PortId);
/// The name of a class of callers; `None` for everybody else.
pub type Class = Option<Arc<str>>;
/// Connections by whom they belong to.
pub type Live = BTreeMap<PortKey, BTreeMap<Class, Vec<Connection>>>;
/// Ports with a shift under way, and the Services that lent their endpoints before and do not now.
pub type Shifted = BTreeMap<PortKey, BTreeSet<ServiceKey>>;

/// What splits ask for.
#[derive(Debug, Default)]
pub struct Wishes {
    ports: BTreeMap<PortKey, Asked>,
    /// The maps are not as wanted: connects still go by what was before.
    lagging: BTreeSet<ServiceKey>,
}

/// What a split asks for on one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    policy: Shift,
    weights: BTreeMap<Class, Weights>,
    lenders: BTreeSet<ServiceKey>,
}

/// By the versions' names.
type Weights = BTreeMap<Arc<str>, Weight>;

/// All shifts of a node.
#[derive(Debug, Default)]
pub struct Shifts {
    /// `None` before the first look.
    ports: Option<BTreeMap<PortKey, Tracked>>,
}

#[derive(Debug)]
struct Tracked {
    asked: Asked,
    left: BTreeSet<ServiceKey>,
    courses: BTreeMap<Class, Course>,
}

/// A port with a shift under way: what tells its connections apart.
#[derive(Debug)]
pub struct Moving {
    key: PortKey,
    /// One for each version, and one for what is no version's any more.
    pools: Pools,
    shares: BTreeMap<Class, Vec<u64>>,
    /// Where clients keep their version: the pool of each place that they fall on.
    homes: BTreeMap<Class, Vec<Option<usize>>>,
    /// By the cgroups of pods.
    classes: BTreeMap<u64, Class>,
    opted_out: BTreeSet<u64>,
}

impl Wishes {
    /// Of every split now, on its TCP ports.
    pub fn of<M: Maps>(agent: &Agent<M>) -> Self {
        let services = agent.state().desired().services.iter();
        let ports = services.flat_map(|(key, service)| {
            let ports = service.ports.iter();
            ports.filter_map(move |port| Some(((key.clone(), port.id), Asked::of(agent, port)?)))
        });
        Self {
            ports: ports.collect(),
            lagging: agent.state().lagging(),
        }
    }
}

impl Asked {
    fn of<M: Maps>(agent: &Agent<M>, port: &Port) -> Option<Self> {
        let Owner::Split(split) = &port.owner else {
            return None;
        };
        if port.id.protocol != key::Protocol::Tcp {
            return None;
        }
        let weights = classes(port).map(|(class, name)| {
            let names = port
                .versions
                .iter()
                .map(|version| Arc::clone(&version.name));
            (name, names.zip(port.weights(class)).collect())
        });
        let lenders = port.versions.iter().map(|version| version.service.clone());
        Some(Self {
            policy: agent.index().splits().get(split)?.on_shift,
            weights: weights.collect(),
            lenders: lenders.collect(),
        })
    }
}

/// The classes of a port's callers by number and name, everybody else last.
fn classes(port: &Port) -> impl Iterator<Item = (Option<usize>, Class)> {
    let named = port.classes.iter().enumerate();
    let named = named.map(|(number, class)| (Some(number), Some(Arc::clone(&class.name))));
    named.chain([(None, None)])
}

/// Whether every version has the same part of both.
fn is_in_proportion(one: &Weights, other: &Weights) -> bool {
    let number = |weight: &Weight| u64::from(weight.get());
    let sum = |weights: &Weights| weights.values().map(number).sum::<u64>();
    let (whole, other_whole) = (sum(one), sum(other));
    let mut pairs = one.iter().zip(other);
    one.len() == other.len()
        && pairs.all(|((name, weight), (other_name, other_weight))| {
            name == other_name && number(weight) * other_whole == number(other_weight) * whole
        })
}

impl Shifts {
    /// Compares what is asked for with what was.
    pub fn note(&mut self, wishes: Wishes, now: Duration) -> Shifted {
        let Wishes { ports, lagging } = wishes;
        let first = self.ports.is_none();
        let mut before = self.ports.take().unwrap_or_default();
        let ports = ports.into_iter().filter_map(|(key, asked)| {
            let is_lagging = lagging.contains(&key.0);
            let tracked = match before.remove(&key) {
                Some(tracked) if is_lagging => tracked,
                Some(tracked) => tracked.follow(asked, now),
                None if first => Tracked::at_rest(asked),
                None if is_lagging => return None,
                // Until now the Service's own endpoints served.
                None => Tracked::begun(asked, &key.0, now),
            };
            Some((key, tracked))
        });
        let ports: BTreeMap<_, _> = ports.collect();
        let moving = ports.iter().filter(|(_, port)| !port.courses.is_empty());
        let moving = moving.map(|(key, port)| (key.clone(), port.left.clone()));
        let moving = moving.collect();
        self.ports = Some(ports);
        moving
    }

    /// The cookies of the connections that end now.
    pub fn look(&mut self, moving: &[Arc<Moving>], live: &Live, now: Duration) -> BTreeSet<u64> {
        let mut ends = BTreeSet::new();
        for port in moving {
            let tracked = self.ports.as_mut().and_then(|all| all.get_mut(&port.key));
            let Some(tracked) = tracked else { continue };
            for (class, course) in &mut tracked.courses {
                let connections = live.get(&port.key).and_then(|port| port.get(class));
                ends.extend(course.look(&View {
                    now,
                    policy: tracked.asked.policy,
                    shares: port.shares.get(class).map_or(&[], Vec::as_slice),
                    connections: connections.map_or(&[], Vec::as_slice),
                }));
            }
            tracked.courses.retain(|_, course| !course.is_over(now));
        }
        ends
    }

    pub fn is_any_under_way(&self) -> bool {
        let mut ports = self.ports.iter().flat_map(BTreeMap::values);
        ports.any(|port| !port.courses.is_empty())
    }
}

impl Tracked {
    fn at_rest(asked: Asked) -> Self {
        Self {
            asked,
            left: BTreeSet::new(),
            courses: BTreeMap::new(),
        }
    }

    /// The split is new on this Service's port.
    fn begun(asked: Asked, own: &ServiceKey, now: Duration) -> Self {
        let mut tracked = Self::at_rest(asked);
        if tracked.asked.policy != Shift::Keep {
            let classes = tracked.asked.weights.keys().cloned();
            tracked.courses = classes.map(|class| (class, Course::begin(now))).collect();
            tracked.left = &BTreeSet::from([own.clone()]) - &tracked.asked.lenders;
        }
        tracked
    }

    fn follow(mut self, asked: Asked, now: Duration) -> Self {
        let before = mem::replace(&mut self.asked, asked);
        if self.asked.policy == Shift::Keep {
            return Self::at_rest(self.asked);
        }
        // Who was in a class that has gone, or is in one that is new, goes by other weights now.
        let is_regrouped = !before.weights.keys().eq(self.asked.weights.keys());
        for (class, weights) in &self.asked.weights {
            let old = before.weights.get(class);
            let is_same = old.is_some_and(|old| is_in_proportion(old, weights));
            if !is_same || (class.is_none() && is_regrouped) {
                self.courses.insert(class.clone(), Course::begin(now));
            }
        }
        self.courses
            .retain(|class, _| self.asked.weights.contains_key(class));
        self.left = if self.courses.is_empty() {
            BTreeSet::new()
        } else {
            &(&self.left | &before.lenders) - &self.asked.lenders
        };
        self
    }
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
        let shares = classes(port).map(|(class, name)| {
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
