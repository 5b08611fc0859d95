//! The whole wanted dataplane in domain terms: no ids, no bytes.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::{Serialize, Serializer};
use sluice_crds::split::{Selection, WhenUnavailable};

use crate::{
    facts::{
        service::{Balancing, Reach},
        split::Weight,
    },
    key::{self, Family, Protocol, ServiceKey, SplitKey},
    weights,
};

/// Every Service that has frontends, and what tells addresses and callers apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
    /// The addresses of nodes, at which ports of every node answer.
    pub nodes: BTreeMap<IpAddr, Whose>,
    /// By the id of the pod's cgroup: what is different about this caller.
    pub callers: BTreeMap<u64, Treatment>,
}

/// Which node an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Own,
    Other,
}

/// What is different about a caller. Callers that nothing is different about are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// Its connects are left alone.
    pub opted_out: bool,
    /// The name of the class that it is in, of each split that has one for it.
    pub classes: BTreeMap<SplitKey, Arc<str>>,
}

/// One Service: its ports, ordered by number, protocol, family and reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub ports: Vec<Port>,
}

/// One port of a Service, for one protocol and family: what is switched as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub id: PortId,
    /// Empty for the only port of a Service.
    pub name: Arc<str>,
    /// Ordered; all of `id`'s family.
    pub frontends: Vec<key::Frontend>,
    /// Of whose nodes its node ports answer: every node's, or this one's alone.
    pub on_nodes: Reach,
    /// For how many seconds after a client's last connect it gets the same backend again.
    pub affinity: Option<u32>,
    pub balancing: Balancing,
    pub owner: Owner,
    pub selection: Selection,
    pub when_unavailable: WhenUnavailable,
    /// In the owner's order. Never empty.
    pub versions: Vec<Version>,
    /// Callers with weights of their own, in the owner's order. Everybody else goes by the versions' weights.
    pub classes: Vec<Class>,
}

/// Some of a port's callers, and the weights that hold for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    pub name: Arc<str>,
    /// One for each of the port's versions, in their order.
    pub weights: Box<[Weight]>,
}

/// What makes a port the same port after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId {
    pub number: key::Port,
    pub protocol: Protocol,
    pub family: Family,
    /// Which endpoints its callers reach.
    pub reach: Reach,
}

/// The rule that decides where a port's connections go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// No policy: the Service's own endpoints.
    Service,
    Split(SplitKey),
}

/// A named group of backends with one weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub name: Arc<str>,
    /// The Service that lends the endpoints.
    pub service: ServiceKey,
    pub weight: Weight,
    /// Ordered, each once. Empty: the version is unavailable.
    pub backends: Arc<[Backend]>,
    /// Nothing was ready, so these are endpoints that still serve while they terminate.
    pub draining: bool,
    /// Nobody has looked for its endpoints yet, so it takes no part.
    pub awaited: bool,
    /// How many of its endpoints are ready in the whole cluster, where shares are capped by that.
    pub capacity: Option<u32>,
}

/// One address that can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    pub ip: IpAddr,
    pub port: key::Port,
}

impl Port {
    /// The place in [`classes`](Self::classes) of the class that a caller is in; `None` for everybody else.
    pub fn class_of(&self, treatment: Option<&Treatment>) -> Option<usize> {
        let Owner::Split(split) = &self.owner else {
            return None;
        };
        let name = treatment?.classes.get(split)?;
        self.classes.iter().position(|class| class.name == *name)
    }

    /// Whom it tells apart: everybody, then each class.
    pub fn callers(&self) -> impl Iterator<Item = Option<usize>> {
        std::iter::once(None).chain((0..self.classes.len()).map(Some))
    }

    /// The weights that act, in the order of the versions, for this class. Only their proportions count.
    pub fn weights(&self, class: Option<usize>) -> Vec<Weight> {
        weights::acting(&self.versions, &self.asked(class))
    }

    /// The weights that are asked for.
    pub fn asked(&self, class: Option<usize>) -> Vec<Weight> {
        match class.and_then(|class| self.classes.get(class)) {
            Some(class) => class.weights.to_vec(),
            None => self.versions.iter().map(|version| version.weight).collect(),
        }
    }
}

impl Version {
    pub fn is_available(&self) -> bool {
        !self.backends.is_empty()
    }

    /// Whether connects can be sent to it.
    pub fn takes_connects(&self) -> bool {
        self.is_available() && self.weight.get() > 0
    }

    /// How many of its endpoints are ready.
    pub fn ready(&self) -> usize {
        if self.draining {
            0
        } else {
            self.backends.len()
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("Service"),
            Self::Split(key) => write!(f, "TrafficSplit {key}"),
        }
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&SocketAddr::new(self.ip, self.port.get()), f)
    }
}
