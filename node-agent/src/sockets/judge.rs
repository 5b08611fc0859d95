//! Which sockets have lost their backend, by what is wanted of the dataplane.
//!
//! A backend counts as there while the Service's slices name it as ready or as serving to its end,
//! also when new connections go elsewhere by now: shifting weights, draining pods and nearer
//! endpoints end nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use sluice_model::{
    desired::{Desired, PortId, Version},
    index::Snapshot,
    key::{self, Frontend, ServiceKey},
};
use sluice_node_abi::{keys, values::Socket};

use super::{moving::Moving, shifts::Shifted};
use crate::{
    agent::Agent,
    diag::{Connected, Protocol},
    maps::Maps,
};

/// What answers at the frontends that were asked for.
#[derive(Debug, Default)]
pub struct Judgement {
    services: BTreeMap<Frontend, Service>,
    /// Inputs have told everything: a frontend that nobody wants is gone.
    whole: bool,
    /// Ports whose weights have shifted.
    pub moving: Vec<Arc<Moving>>,
    moving_at: BTreeMap<Frontend, Arc<Moving>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub backends: BTreeSet<SocketAddr>,
    /// Connections end with their backend, by the Service's own wish.
    pub cuts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Service(&'a Service),
    Gone,
    /// It may belong to an object that could not be read.
    Unknown,
}

impl Judgement {
    pub fn of(&self, front: &Frontend) -> Found<'_> {
        match self.services.get(front) {
            Some(service) => Found::Service(service),
            None if self.whole => Found::Gone,
            None => Found::Unknown,
        }
    }

    /// The port that the frontend is of, if its weights have shifted.
    pub fn moving_at(&self, front: &Frontend) -> Option<&Moving> {
        self.moving_at.get(front).map(Arc::as_ref)
    }
}

/// The frontend that the socket is about: the one it was translated from, else where it leads. Loopback
/// that nobody translated is the caller's own.
pub fn frontend_of(socket: &Connected) -> Option<Frontend> {
    let peer = socket.peer();
    let address = match &socket.state {
        // It has been connected elsewhere since.
        Some(state) if !is_at(state, peer) => return None,
        Some(state) => SocketAddr::new(keys::ip(state.address), u16::from_be_bytes(state.port)),
        None if is_any_nodes(peer.ip().to_canonical()) => return None,
        None => peer,
    };
    let protocol = match socket.protocol {
        Protocol::Tcp => key::Protocol::Tcp,
        Protocol::Udp => key::Protocol::Udp,
    };
    Some(Frontend {
        ip: address.ip(),
        port: key::Port::new(address.port())?,
        protocol,
    })
}

fn is_at(state: &Socket, peer: SocketAddr) -> bool {
    state.is_from(&keys::address(peer.ip()), peer.port().to_be_bytes())
}

/// Whether a socket that was translated has lost its backend. A TCP connection ends only where its
/// Service wants that.
pub fn is_stale(protocol: Protocol, peer: SocketAddr, found: Found<'_>) -> bool {
    match found {
        Found::Service(service) => {
            !service.backends.contains(&peer) && (protocol == Protocol::Udp || service.cuts)
        }
        Found::Gone => protocol == Protocol::Udp,
        Found::Unknown => false,
    }
}

/// Whether one of the backends that a socket may be with has gone.
pub fn has_lost(known: &BTreeSet<SocketAddr>, found: Found<'_>) -> bool {
    match found {
        Found::Service(service) => !known.is_subset(&service.backends),
        Found::Gone => true,
        Found::Unknown => false,
    }
}

/// What has to be looked at.
pub struct Scope {
    /// Any Service wants its TCP connections to end with their backends.
    pub with_tcp: bool,
    /// The cgroups of pods that something is different about.
    pub callers: BTreeSet<u64>,
    /// Of these the ones whose connects are left alone.
    pub opted_out: BTreeSet<u64>,
}

pub fn scope<M: Maps>(agent: &Agent<M>) -> Scope {
    let callers = &agent.state().desired().callers;
    let opted_out = callers.iter().filter(|(_, treatment)| treatment.opted_out);
    Scope {
        with_tcp: agent
            .index()
            .services()
            .values()
            .any(|service| service.cuts),
        callers: callers.keys().copied().collect(),
        opted_out: opted_out.map(|(cgroup, _)| *cgroup).collect(),
    }
}

/// Looks the frontends up. `None` until every input has listed.
pub fn judge<M: Maps>(
    agent: &Agent<M>,
    wanted: &BTreeSet<Frontend>,
    shifted: &Shifted,
) -> Option<Judgement> {
    let snapshot = agent.index().snapshot()?;
    let mut judgement = Judgement {
        whole: agent.view_is_whole(),
        ..Judgement::default()
    };
    judgement.look_up(agent.state().desired(), snapshot, wanted, shifted);
    Some(judgement)
}

/// Loopback is a node's in the node's own network, and so is the unspecified address.
fn is_any_nodes(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

impl Judgement {
    /// One walk over all Services, however many frontends are wanted.
    fn look_up(
        &mut self,
        desired: &Desired,
        snapshot: Snapshot<'_>,
        wanted: &BTreeSet<Frontend>,
        shifted: &Shifted,
    ) {
        if wanted.is_empty() && shifted.is_empty() {
            return;
        }
        let asked = asked(desired, wanted);
        for (key, service) in &desired.services {
            let cuts = snapshot.service(key).is_some_and(|service| service.cuts);
            for port in &service.ports {
                let moving = shifted.get(&(key.clone(), port.id));
                let moving =
                    moving.map(|left| Arc::new(Moving::of(key, port, left, desired, snapshot)));
                self.moving.extend(moving.clone());
                let fronts = port.frontends.iter();
                for front in fronts.filter_map(|front| asked.get(front)).flatten() {
                    let found = self.services.entry(*front).or_default();
                    found.cuts |= cuts;
                    for version in &port.versions {
                        found.backends.extend(backends(port.id, version, snapshot));
                    }
                    if let Some(moving) = &moving {
                        self.moving_at.insert(*front, Arc::clone(moving));
                    }
                }
            }
        }
    }
}

/// The wanted frontends by those that Services have: a port of every node has one, at the unspecified address.
fn asked(desired: &Desired, wanted: &BTreeSet<Frontend>) -> BTreeMap<Frontend, Vec<Frontend>> {
    let mut asked: BTreeMap<Frontend, Vec<Frontend>> = BTreeMap::new();
    for front in wanted {
        asked.entry(*front).or_default().push(*front);
        if !desired.nodes.contains_key(&front.ip) && !is_any_nodes(front.ip) {
            continue;
        }
        let family = key::Family::of(front.ip);
        let on_nodes = Frontend::on_every_node(family, front.port, front.protocol);
        asked.entry(on_nodes).or_default().push(*front);
    }
    asked
}

/// Every address that a version has, whether it is chosen now or not.
pub fn backends(id: PortId, version: &Version, snapshot: Snapshot<'_>) -> BTreeSet<SocketAddr> {
    let chosen = version.backends.iter();
    let chosen = chosen.map(|backend| SocketAddr::new(backend.ip, backend.port.get()));
    chosen
        .chain(endpoints(id, &version.service, snapshot))
        .collect()
}

/// Every address that the Service's slices name, for the protocol of this port.
pub fn endpoints(
    id: PortId,
    service: &ServiceKey,
    snapshot: Snapshot<'_>,
) -> impl Iterator<Item = SocketAddr> {
    snapshot.slices_of(service).flat_map(move |slice| {
        let ports = slice.ports.iter();
        let ports = ports.filter(move |port| port.protocol == id.protocol);
        ports.flat_map(move |port| {
            let endpoints = slice.endpoints.iter();
            endpoints.map(move |endpoint| SocketAddr::new(endpoint.ip, port.number.get()))
        })
    })
}
