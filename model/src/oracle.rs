//! What connects to an address may lead to: twice, by two ways that share no code.
//!
//! [`by_desired`] reads weights and backends; [`by_image`] walks the rows of an image as the kernel
//! would. Neither calls the schedule, the lowering or the kernel's own `choose`, so that they can
//! be held against those and against real connects.

mod odds;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sluice_crds::split::{Selection, WhenUnavailable};
use sluice_node_abi::{
    keys::{self, ClassKey, FrontendKey},
    slots,
    values::{self, mode},
};

use crate::{
    caller::Caller,
    desired::{Backend, Desired, Port, Treatment, Version},
    explain,
    facts::service::Balancing,
    image::Image,
    key::{self, Frontend, Protocol},
};

pub use odds::{Class, Odds};

/// What becomes of connects to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Left alone.
    Passed,
    Decided(Odds),
}

/// A row that names a row that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling(pub String);

/// What should happen, given what is wanted.
pub fn by_desired(desired: &Desired, caller: Caller, frontend: Frontend) -> Answer {
    match explain::find(desired, caller, frontend) {
        Some((_, port)) => {
            let treatment = caller
                .cgroup
                .and_then(|cgroup| desired.callers.get(&cgroup));
            Answer::Decided(odds_of(port, treatment))
        }
        None => Answer::Passed,
    }
}

fn odds_of(port: &Port, treatment: Option<&Treatment>) -> Odds {
    let weights = port.weights(port.class_of(treatment));
    let weights = weights.into_iter().map(|weight| u64::from(weight.get()));
    let versions: Vec<(&Version, u64)> = port.versions.iter().zip(weights).collect();
    let usable = |(version, weight): &&(&Version, u64)| version.is_available() && *weight > 0;
    let some_usable = versions.iter().any(|version| usable(&version));
    let counts = |version: &&(&Version, u64)| match port.when_unavailable {
        WhenUnavailable::Redistribute => usable(version),
        WhenUnavailable::Reject => some_usable && version.1 > 0,
    };
    let mut odds = Odds {
        selection: port.selection,
        affinity: port.affinity.unwrap_or_default(),
        balancing: port.balancing,
        classes: BTreeMap::new(),
        whole: 0,
        unit: 0,
    };
    for (version, weight) in versions.iter().filter(counts) {
        odds.add(version.backends.iter().copied().collect(), *weight);
    }
    if odds.whole == 0 {
        odds.add(BTreeSet::new(), 1);
    }
    odds
}

/// What would happen, given what the maps hold.
pub fn by_image(image: &Image, caller: Caller, frontend: Frontend) -> Result<Answer, Dangling> {
    let Some(front) = front(image, caller, frontend.key()) else {
        return Ok(Answer::Passed);
    };
    let port = image.ports.get(front.port);
    if port == values::Port::default() {
        return Err(Dangling(format!("{frontend}: port {}", front.port)));
    }
    let root = table_of(image, caller, port)
        .ok_or_else(|| Dangling(format!("{frontend}: a class of none of its tables")))?;
    let table = image.tables.get(root);
    if !is_carried_right(image, table) || !lists_members(image, table, frontend.protocol) {
        let what = format!("{frontend}: table {root} carries something else than it leads to");
        return Err(Dangling(what));
    }
    let selection = match table.mode {
        _ if table.group != 0 => Selection::Sequence,
        mode::SEQUENCE => Selection::Sequence,
        mode::RANDOM => Selection::Random,
        mode::STICKY => Selection::Sticky,
        _ => return Err(Dangling(format!("{frontend}: table {root}"))),
    };
    let mut slots: BTreeMap<u32, u64> = BTreeMap::new();
    for group in image.table_slots(table).map(slots::group) {
        *slots.entry(group).or_default() += 1;
    }
    if slots.is_empty() {
        return Err(Dangling(format!("{frontend}: table {root} is empty")));
    }
    let mut odds = Odds {
        selection,
        affinity: table.affinity,
        balancing: Balancing::default(),
        classes: BTreeMap::new(),
        whole: 0,
        unit: 0,
    };
    for (group, part) in slots {
        let backends = if group == 0 {
            BTreeSet::new()
        } else {
            odds.balancing = balancing(image, frontend, group)?.unwrap_or(odds.balancing);
            members(image, frontend, group)?
        };
        odds.add(backends, part);
    }
    Ok(Answer::Decided(odds))
}

/// The table of a port that serves a caller: everybody's, or that of its class.
fn table_of(image: &Image, caller: Caller, port: values::Port) -> Option<u32> {
    let root = port.root();
    let cgroup = caller.cgroup.filter(|_| port.classes() > 0);
    let class = cgroup.and_then(|cgroup| {
        image.classes.get(&ClassKey {
            root,
            reserved: 0,
            cgroup,
        })
    });
    let table = class.map_or(root, |class| class.table());
    port.tables().contains(&table).then_some(table)
}

/// Whether what a table repeats of other rows is as these say.
fn is_carried_right(image: &Image, table: values::Table) -> bool {
    let slots = image.slots.run(table.offset, table.length);
    let group = image.groups.get(table.group);
    let as_group = (group.mode, group.offset, group.length, group.counter)
        == (table.mode, table.offset, table.length, table.counter);
    table.carried.into_iter().zip(slots).all(|(a, b)| a == b) && (table.group == 0 || as_group)
}

/// Whether the table lists its backends where callers may keep theirs.
fn lists_members(image: &Image, table: values::Table, protocol: Protocol) -> bool {
    let groups = image.table_groups(table).into_iter();
    let groups = groups.map(|id| image.groups.get(id));
    let all: BTreeSet<u32> = groups.flat_map(|group| image.group_slots(group)).collect();
    if table.affinity > 0 || protocol == Protocol::Udp {
        image.members(table).eq(all)
    } else {
        table.member_count == 0
    }
}

/// The row that answers at an address: its own one, or that of a port of every node.
fn front(image: &Image, caller: Caller, key: FrontendKey) -> Option<values::Frontend> {
    let row = caller.cgroup.and_then(|cgroup| image.callers.get(&cgroup));
    if row.is_some_and(|row| row.flags & values::caller::OPTED_OUT != 0) {
        return None;
    }
    if key.scope == keys::SCOPE_ANY
        && let Some(own) = image.frontends.get(&key)
    {
        return Some(*own);
    }
    let ip = keys::ip(key.address);
    let unspecified: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let on_nodes = image.frontends.get(&FrontendKey {
        address: keys::address(unspecified),
        scope: keys::SCOPE_NODES,
        ..key
    })?;
    let is_own = if ip.is_loopback() || ip.is_unspecified() {
        caller.in_host_network.then_some(true)
    } else {
        let node = image.nodes.get(&key.address);
        node.map(|node| node.flags & values::node::OWN != 0)
    }?;
    let answers = is_own || on_nodes.flags & values::frontend::OWN_NODE == 0;
    answers.then_some(*on_nodes)
}

/// How a group picks. `None` when it has nothing to pick from.
fn balancing(image: &Image, frontend: Frontend, id: u32) -> Result<Option<Balancing>, Dangling> {
    let group = image.groups.get(id);
    let balancing = match group.mode {
        mode::SEQUENCE => Balancing::RoundRobin,
        mode::RANDOM => Balancing::Random,
        mode::LEAST_SOCKETS => Balancing::LeastConnections,
        mode::CONSISTENT => Balancing::Consistent,
        other => return Err(Dangling(format!("{frontend}: group {id}: mode {other}"))),
    };
    Ok((group.length > 1).then_some(balancing))
}

fn members(image: &Image, frontend: Frontend, id: u32) -> Result<BTreeSet<Backend>, Dangling> {
    let group = image.groups.get(id);
    if group == values::Group::default() || group.length == 0 {
        return Err(Dangling(format!("{frontend}: group {id}")));
    }
    let slots = image.group_slots(group);
    slots
        .map(|slot| {
            let backend = image.backends.get(slot);
            let port = key::Port::new(u16::from_be_bytes(backend.port));
            let protocol = Protocol::from_number(backend.protocol);
            match port {
                Some(port) if backend.generation != 0 && protocol == Some(frontend.protocol) => {
                    Ok(Backend {
                        ip: keys::ip(backend.address),
                        port,
                    })
                }
                _ => Err(Dangling(format!("{frontend}: group {id}: backend {slot}"))),
            }
        })
        .collect()
}

impl Answer {
    /// Whether an image that answers `image` does what this one asks for, or why not.
    pub fn check(&self, image: &Self) -> Result<(), String> {
        match (self, image) {
            (Self::Passed, Self::Passed) => Ok(()),
            (Self::Decided(wanted), Self::Decided(found)) => wanted.check(found),
            (wanted, found) => Err(format!("wanted {wanted:?}, found {found:?}")),
        }
    }
}
