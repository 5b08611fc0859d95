//! Random worlds: objects as manifests, and a node that follows them.

mod objects;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::IpAddr,
};

use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use sluice_model::{
    caller::Caller,
    change::Change,
    facts,
    ids::Capacities,
    image::Image,
    index::Index,
    key::{Frontend, Kind, NodeKey, Port, Protocol, Subject},
    oracle,
    pass::State,
    plan::{Op, Outcome, Plan},
};

use objects::{
    CLUSTER_ADDRESSES, EXTERNAL_ADDRESSES, NODES, OWN_NODE, POD_UID, PORTS, event, node_addresses,
    node_port,
};
pub(crate) use objects::{service, slice, split};

/// Something that happens to one object.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Set(Value),
    Gone(Subject),
}

impl Event {
    pub(crate) fn change(&self) -> Change {
        match self {
            Self::Set(manifest) => facts::parse(manifest.clone()).expect("a known kind"),
            Self::Gone(subject) => Change::Gone(subject.clone()),
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        match self.change() {
            Change::Set(object) => object.subject(),
            Change::Gone(subject) => subject,
            Change::Relisted(..) => unreachable!("an event is about one object"),
        }
    }
}

pub(crate) fn events(count: usize) -> impl Strategy<Value = Vec<Event>> {
    vec(event(), 1..=count)
}

/// What there is after these events.
pub(crate) fn survivors(events: &[Event]) -> Vec<Event> {
    let mut last = BTreeMap::new();
    for event in events {
        last.insert(event.subject(), event.clone());
    }
    let last = last.into_values();
    last.filter(|event| matches!(event, Event::Set(_)))
        .collect()
}

/// That every kind has listed, with these objects.
pub(crate) fn relisted(events: &[Event]) -> Vec<Change> {
    let present: BTreeSet<Subject> = events.iter().map(Event::subject).collect();
    let of = |kind| {
        present
            .iter()
            .filter(move |s| s.kind == kind)
            .cloned()
            .collect()
    };
    Kind::ALL
        .iter()
        .map(|&kind| Change::Relisted(kind, of(kind)))
        .collect()
}

pub(crate) fn index_of(events: &[Event]) -> Index {
    let own = NodeKey::parse("", OWN_NODE).expect("a name");
    let mut index = Index::awaiting(Kind::ALL).on_node(own);
    for kind in Kind::ALL {
        index.apply(Change::Relisted(kind, BTreeSet::new()));
    }
    for event in events {
        index.apply(event.change());
    }
    index.set_cgroups(BTreeMap::from([(POD_UID.into(), CGROUP)]));
    index
}

/// The cgroup of the one pod.
const CGROUP: u64 = 4711;

/// Somebody's connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) caller: Caller,
    pub(crate) frontend: Frontend,
}

impl Ask {
    /// What a row of a node's address or of a caller that is late can put in the place of this one's
    /// answer: asks at nodes are alike when port, protocol and family are, and those of a known
    /// pod are like everybody's.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let known = |ask: &Self| ask.caller.cgroup.is_some();
        if (known(self) || known(other)) && self.frontend == other.frontend {
            return true;
        }
        let at_node = |ask: &Self| ask.frontend.port.get() > 30_000;
        let Frontend { ip, port, protocol } = other.frontend;
        at_node(self)
            && at_node(other)
            && (self.frontend.port, self.frontend.protocol) == (port, protocol)
            && self.frontend.ip.is_ipv4() == ip.is_ipv4()
    }
}

/// Every address that a frontend could have, and some that none has, asked by a pod; those that
/// only the host can ask, by the host.
pub(crate) fn asks() -> Vec<Ask> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for i in 1..=CLUSTER_ADDRESSES + 1 {
        addresses.push([10, 96, 0, i].into());
        addresses.push(format!("fd00::{i}").parse().expect("an address"));
    }
    let external = EXTERNAL_ADDRESSES.iter().map(|ip| ip.parse().expect("one"));
    addresses.extend(external.filter(|ip: &IpAddr| ip.to_string() != "10.96.0.1"));
    let mut asks = Vec::new();
    for (i, (_, number, protocol)) in PORTS.into_iter().enumerate() {
        let protocol = match protocol {
            "UDP" => Protocol::Udp,
            _ => Protocol::Tcp,
        };
        let mut ask = |ip, number, caller| {
            let port = Port::new(number).expect("a port");
            let frontend = Frontend { ip, port, protocol };
            asks.push(Ask { caller, frontend });
        };
        for ip in &addresses {
            ask(*ip, number, Caller::default());
        }
        for ip in (0..=NODES).flat_map(node_addresses) {
            ask(ip, node_port(i), Caller::default());
        }
        let known = Caller {
            cgroup: Some(CGROUP),
            ..Caller::default()
        };
        for ip in &addresses[..4] {
            ask(*ip, number, known);
        }
        for caller in [Caller::default(), Caller::HOST] {
            ask([127, 0, 0, 1].into(), node_port(i), caller);
            ask([0, 0, 0, 0, 0, 0, 0, 1].into(), node_port(i), caller);
        }
    }
    asks
}

/// A node: what it knows, what it wants, and what its maps hold.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) index: Index,
    pub(crate) state: State,
    pub(crate) observed: Image,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(Capacities::default())
    }

    pub(crate) fn with(capacities: Capacities) -> Self {
        Self {
            index: index_of(&[]),
            state: State::new(capacities),
            observed: Image::default(),
        }
    }

    /// A process that starts anew beside maps that hold something.
    pub(crate) fn restarted(observed: &Image, events: &[Event]) -> Self {
        Self {
            index: index_of(events),
            state: State::restore(Capacities::default(), observed),
            observed: observed.clone(),
        }
    }

    pub(crate) fn plan(&mut self) -> Plan {
        let pass = self.state.pass(&mut self.index, &self.observed);
        pass.expect("everything is listed").plan
    }

    /// One pass in which every write succeeds.
    pub(crate) fn pass(&mut self) -> Plan {
        let plan = self.plan();
        let outcome: Outcome<Infallible> = plan.run(&mut self.observed, |_| Ok(()));
        self.state.finish(&outcome);
        plan
    }

    pub(crate) fn follow(&mut self, events: &[Event]) -> Plan {
        for event in events {
            self.index.apply(event.change());
        }
        self.pass()
    }

    /// One pass in which these writes fail; `watch` sees the maps after every step.
    pub(crate) fn stumble(
        &mut self,
        mut fails: impl FnMut() -> bool,
        mut watch: impl FnMut(&Image, &Op),
    ) -> bool {
        let plan = self.plan();
        let mut shadow = self.observed.clone();
        let outcome = plan.run(&mut self.observed, |op| {
            if fails() {
                return Err("a write failed");
            }
            op.apply(&mut shadow);
            watch(&shadow, op);
            Ok(())
        });
        self.state.finish(&outcome);
        outcome.is_complete()
    }

    /// What the wanted dataplane and the maps say to everybody.
    pub(crate) fn check_answers(&self) -> Result<(), TestCaseError> {
        for Ask { caller, frontend } in asks() {
            let wanted = oracle::by_desired(self.state.desired(), caller, frontend);
            let found = oracle::by_image(&self.observed, caller, frontend);
            let found =
                found.map_err(|d| TestCaseError::fail(format!("{d:?}\n{}", self.observed)))?;
            wanted.check(&found).map_err(|difference| {
                TestCaseError::fail(format!("{frontend}: {difference}\n{:#}", self.observed))
            })?;
        }
        Ok(())
    }
}

/// What the maps answer to everybody; fails when anything dangles.
pub(crate) fn answers(image: &Image) -> Vec<(Ask, oracle::Answer)> {
    asks()
        .into_iter()
        .map(|ask| {
            let answer = oracle::by_image(image, ask.caller, ask.frontend);
            let answer = answer.unwrap_or_else(|dangling| panic!("{dangling:?}\n{image:#}"));
            (ask, answer)
        })
        .collect()
}
