//! What connects to an address may lead to: twice, by two ways that share no code.
//!
//! [`by_desired`] reads weights and backends; [`by_image`] walks the rows of an image as the kernel
//! would. Neither calls the schedule, the lowering or the kernel's own `choose`, so that they can
//! be held against those and against real connects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sluice_crds::split::{Selection, WhenUnavailable};
use sluice_node_abi::{
    keys::{self, FrontendKey},
    values::{self, mode},
};

use crate::{
    caller::Caller,
    desired::{Backend, Desired, Port, Version},
    explain,
    facts::service::Balancing,
    image::Image,
    key::{self, Frontend, Protocol},
};

/// What becomes of connects to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Left alone.
    Passed,
    Decided(Odds),
}

/// The classes of outcomes and their shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odds {
    pub selection: Selection,
    /// For how many seconds a client keeps its backend; 0: not at all.
    pub affinity: u32,
    /// How a backend of a class is picked. Says nothing where no class has two.
    pub balancing: Balancing,
    /// By the backends that can be reached; the empty set is a refusal.
    pub classes: BTreeMap<BTreeSet<Backend>, Class>,
    /// The sum of all parts.
    pub whole: u64,
    /// The greatest common divisor of the versions' weights.
    pub unit: u64,
}

/// One class of outcomes: versions with the same backends cannot be told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    pub part: u64,
    pub versions: u64,
}

/// A row that names a row that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling(pub String);

/// A finer share than this cannot be kept.
const GRAIN: u64 = 4096;

/// What should happen, given what is wanted.
pub fn by_desired(desired: &Desired, caller: Caller, frontend: Frontend) -> Answer {
    match explain::find(desired, caller, frontend) {
        Some((_, port)) => Answer::Decided(odds_of(port)),
        None => Answer::Passed,
    }
}

fn odds_of(port: &Port) -> Odds {
    let usable = |version: &&Version| version.is_available() && version.weight.get() > 0;
    let some_usable = port.versions.iter().any(|version| usable(&version));
    let counts = |version: &&Version| match port.when_unavailable {
        WhenUnavailable::Redistribute => usable(version),
        WhenUnavailable::Reject => some_usable && version.weight.get() > 0,
    };
    let mut odds = Odds {
        selection: port.selection,
        affinity: port.affinity.unwrap_or_default(),
        balancing: port.balancing,
        classes: BTreeMap::new(),
        whole: 0,
        unit: 0,
    };
    for version in port.versions.iter().filter(counts) {
        odds.add(
            version.backends.iter().copied().collect(),
            version.weight.get().into(),
        );
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
    let table = image.tables.get(port.root());
    if !is_carried_right(image, table) || !lists_members(image, table, frontend.protocol) {
        let root = port.root();
        let what = format!("{frontend}: table {root} carries something else than it leads to");
        return Err(Dangling(what));
    }
    let selection = match table.mode {
        _ if table.group != 0 => Selection::Sequence,
        mode::SEQUENCE => Selection::Sequence,
        mode::RANDOM => Selection::Random,
        _ => return Err(Dangling(format!("{frontend}: table {}", port.root()))),
    };
    let mut slots: BTreeMap<u32, u64> = BTreeMap::new();
    for group in image.table_slots(table) {
        *slots.entry(group).or_default() += 1;
    }
    if slots.is_empty() {
        return Err(Dangling(format!(
            "{frontend}: table {} is empty",
            port.root()
        )));
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
    let groups = image.table_slots(table).map(|id| image.groups.get(id));
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

impl Odds {
    fn add(&mut self, backends: BTreeSet<Backend>, part: u64) {
        let class = self.classes.entry(backends).or_default();
        class.part += part;
        class.versions += 1;
        self.whole += part;
        self.unit = gcd(self.unit, part);
    }

    fn check(&self, found: &Self) -> Result<(), String> {
        if !self.classes.keys().eq(found.classes.keys()) {
            return Err(format!("wanted {self}, found {found}"));
        }
        // With one class there is nothing to select.
        if self.classes.len() > 1 && self.selection != found.selection {
            return Err(format!("wanted {self}, found {found}"));
        }
        let picks = self.classes.keys().any(|backends| backends.len() > 1);
        if self.affinity != found.affinity || picks && self.balancing != found.balancing {
            return Err(format!("wanted {self}, found {found}"));
        }
        let versions: u64 = self.classes.values().map(|class| class.versions).sum();
        for (backends, wanted) in &self.classes {
            let found = found.classes[backends].part * self.whole * GRAIN / found.whole;
            let wanted = wanted.part * GRAIN;
            let apart = found.abs_diff(wanted);
            let allowed = if self.is_exact() {
                0
            } else {
                versions * self.whole
            };
            if apart > allowed {
                return Err(format!(
                    "{backends:?}: wanted {wanted} of {}, found {found}",
                    self.whole * GRAIN
                ));
            }
        }
        Ok(())
    }

    /// Whether these connects, the first ones since the schedule started, are as they should be.
    /// They are one client's. `None` is a refusal. A random selection only has to stay among the known
    /// outcomes.
    pub fn check_connects(
        &self,
        connects: impl IntoIterator<Item = Option<Backend>>,
    ) -> Result<(), String> {
        let mut counts: BTreeMap<&BTreeSet<Backend>, u64> = BTreeMap::new();
        let mut total = 0;
        let mut kept = None;
        for connect in connects {
            total += 1;
            if self.affinity > 0
                && let Some(backend) = connect
                && *kept.get_or_insert(backend) != backend
            {
                return Err(format!("{connect:?} after {kept:?} by {self}"));
            }
            let mut classes = self.classes.keys();
            let class = classes.find(|backends| match connect {
                Some(backend) => backends.contains(&backend),
                None => backends.is_empty(),
            });
            let Some(class) = class else {
                return Err(format!("{connect:?} is none of {self}"));
            };
            *counts.entry(class).or_default() += 1;
        }
        let distinct = self.classes.keys().map(BTreeSet::len).sum::<usize>();
        let all: BTreeSet<&Backend> = self.classes.keys().flatten().collect();
        // A backend of two classes says nothing about which of them was chosen.
        if self.selection == Selection::Random || self.affinity > 0 || distinct > all.len() {
            return Ok(());
        }
        let versions: u64 = self.classes.values().map(|class| class.versions).sum();
        let rounding = if self.is_exact() {
            0
        } else {
            total * versions * self.whole / GRAIN
        };
        for (backends, class) in &self.classes {
            let count = counts.get(backends).copied().unwrap_or_default();
            let apart = (count * self.whole).abs_diff(class.part * total);
            if apart > class.versions * self.whole + rounding {
                return Err(format!(
                    "{backends:?}: {count} of {total} connects by {self}"
                ));
            }
        }
        Ok(())
    }

    /// Whether the shares can be met by a schedule that is not too long.
    fn is_exact(&self) -> bool {
        self.whole / self.unit.max(1) <= GRAIN
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Odds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.selection)?;
        if self.balancing != Balancing::default() {
            write!(f, " and {}", self.balancing.name())?;
        }
        if self.affinity > 0 {
            write!(f, ", the same for {} s", self.affinity)?;
        }
        for (backends, class) in &self.classes {
            write!(f, ", {}/{} to ", class.part, self.whole)?;
            if backends.is_empty() {
                f.write_str("nobody")?;
            }
            for (i, backend) in backends.iter().enumerate() {
                let comma = if i > 0 { " or " } else { "" };
                write!(f, "{comma}{backend}")?;
            }
        }
        Ok(())
    }
}
