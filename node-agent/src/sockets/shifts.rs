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

use sluice_model::{
    desired::{Owner, Port, PortId},
    facts::split::{Shift, Weight},
    key::{self, ServiceKey},
    shift::{Connection, Course, View},
};

use super::moving::Moving;
use crate::{agent::Agent, maps::Maps};

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
            (name, names.zip(port.asked(class)).collect())
        });
        let lenders = port.versions.iter().map(|version| version.service.clone());
        Some(Self {
            policy: agent.index().splits().get(split)?.on_shift,
            weights: weights.collect(),
            lenders: lenders.collect(),
        })
    }
}

/// A port's frontends may reach other endpoints than before: that is no shift.
fn apart_from_reach(
    (service, id): &PortKey,
) -> (ServiceKey, key::Port, key::Protocol, key::Family) {
    (service.clone(), id.number, id.protocol, id.family)
}

/// The classes of a port's callers by number and name, everybody else last.
pub(super) fn classes(port: &Port) -> impl Iterator<Item = (Option<usize>, Class)> {
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
        let served: BTreeSet<_> = before.keys().map(apart_from_reach).collect();
        let ports = ports.into_iter().filter_map(|(key, asked)| {
            let is_lagging = lagging.contains(&key.0);
            let tracked = match before.remove(&key) {
                Some(tracked) if is_lagging => tracked,
                Some(tracked) => tracked.follow(asked, now),
                None if first => Tracked::at_rest(asked),
                None if is_lagging => return None,
                None if served.contains(&apart_from_reach(&key)) => Tracked::at_rest(asked),
                // Until now the Service's own endpoints served.
                None => Tracked::begun(asked, &key.0, now),
            };
            Some((key, tracked))
        });
        let ports: BTreeMap<_, _> = ports.collect();
        let moving = ports
            .iter()
            .filter(|(key, port)| !port.courses.is_empty() && !lagging.contains(&key.0));
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
                let Some(shares) = port.shares.get(class) else {
                    continue;
                };
                let connections = live.get(&port.key).and_then(|port| port.get(class));
                ends.extend(course.look(&View {
                    now,
                    policy: tracked.asked.policy,
                    shares,
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
        let is_lent_anew = before.lenders != self.asked.lenders;
        for (class, weights) in &self.asked.weights {
            let old = before.weights.get(class);
            let is_same = old.is_some_and(|old| is_in_proportion(old, weights));
            if !is_same || is_lent_anew || (class.is_none() && is_regrouped) {
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

#[cfg(test)]
mod tests {
    use sluice_model::{facts::service::Reach, key::Family};

    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn service(name: &str) -> ServiceKey {
        ServiceKey::parse("shop", name).expect("a name")
    }

    fn port(reach: Reach) -> PortKey {
        let id = PortId {
            number: key::Port::new(80).expect("a port"),
            protocol: key::Protocol::Tcp,
            family: Family::V4,
            reach,
        };
        (service("checkout"), id)
    }

    fn asked(versions: &[(&str, u32)]) -> Asked {
        let weights = versions.iter().map(|(version, weight)| {
            let weight = Weight::parse(*weight).expect("a weight");
            (Arc::from(*version), weight)
        });
        Asked {
            policy: Shift::Cut,
            weights: BTreeMap::from([(None, weights.collect())]),
            lenders: versions.iter().map(|(name, _)| service(name)).collect(),
        }
    }

    fn wishes(ports: impl IntoIterator<Item = (PortKey, Asked)>) -> Wishes {
        Wishes {
            ports: ports.into_iter().collect(),
            lagging: BTreeSet::new(),
        }
    }

    #[test]
    fn a_shift_begins_when_what_is_asked_for_changes_and_not_before() {
        let mut shifts = Shifts::default();
        let mut note = |wishes| !shifts.note(wishes, NOW).is_empty();
        let here = || port(Reach::Cluster);
        assert!(!note(wishes([(here(), asked(&[("a", 1), ("b", 1)]))])));
        assert!(!note(wishes([(here(), asked(&[("a", 2), ("b", 2)]))])));
        assert!(note(wishes([(here(), asked(&[("a", 1), ("b", 2)]))])));
    }

    #[test]
    fn a_version_that_is_lent_by_another_service_is_a_shift() {
        let mut shifts = Shifts::default();
        let before = asked(&[("a", 1), ("b", 1)]);
        let mut after = before.clone();
        after.lenders = BTreeSet::from([service("a"), service("c")]);
        shifts.note(wishes([(port(Reach::Cluster), before)]), NOW);
        let moving = shifts.note(wishes([(port(Reach::Cluster), after)]), NOW);
        let left = BTreeSet::from([service("b")]);
        assert_eq!(moving, BTreeMap::from([(port(Reach::Cluster), left)]));
    }

    #[test]
    fn a_port_that_reaches_other_endpoints_is_no_shift_and_a_new_split_is() {
        let mut shifts = Shifts::default();
        let same = || asked(&[("a", 1), ("b", 1)]);
        shifts.note(wishes([(port(Reach::Cluster), same())]), NOW);
        assert!(
            shifts
                .note(wishes([(port(Reach::Local), same())]), NOW)
                .is_empty()
        );
        assert!(shifts.note(wishes([]), NOW).is_empty());
        assert!(
            !shifts
                .note(wishes([(port(Reach::Local), same())]), NOW)
                .is_empty()
        );
    }

    #[test]
    fn what_is_not_in_force_moves_nothing() {
        let mut shifts = Shifts::default();
        let at = || port(Reach::Cluster);
        shifts.note(wishes([(at(), asked(&[("a", 1), ("b", 0)]))]), NOW);
        let under_way = wishes([(at(), asked(&[("a", 1), ("b", 1)]))]);
        assert!(!shifts.note(under_way, NOW).is_empty());
        let mut refused = wishes([(at(), asked(&[("a", 0), ("b", 1)]))]);
        refused.lagging.insert(service("checkout"));
        assert!(shifts.note(refused, NOW).is_empty());
        assert!(shifts.is_any_under_way(), "it goes on later");
    }
}
