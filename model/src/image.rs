//! The content of the maps, wanted or observed, in ABI types.
//!
//! Zero means none, as in the maps themselves: an entry that is all zero is not there. Two images
//! that differ only in ids and offsets print alike: `{}` shows what each frontend leads to, with
//! letters for groups; `{:#}` adds the ids.

mod array;
mod dump;

use std::collections::{BTreeMap, BTreeSet};

use sluice_node_abi::{
    keys::{Address, ClassKey, FrontendKey},
    slots,
    values::{Backend, Caller, Class, Frontend, Group, NodeAddress, Port, Table, mode},
};

pub use array::Array;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The highest generation that was ever issued.
    pub generation: u32,
    pub frontends: BTreeMap<FrontendKey, Frontend>,
    /// Where ports of every node answer.
    pub nodes: BTreeMap<Address, NodeAddress>,
    /// Pods that are not ordinary callers, by the id of their cgroup.
    pub callers: BTreeMap<u64, Caller>,
    /// Which tables serve pods that have others than everybody's.
    pub classes: BTreeMap<ClassKey, Class>,
    pub ports: Array<Port>,
    pub tables: Array<Table>,
    pub groups: Array<Group>,
    pub backends: Array<Backend>,
    pub slots: Array<u32>,
    /// Which counters are in use. Their values belong to the kernel.
    pub counters: Array<bool>,
}

/// Something that can be written: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Generation(u32),
    /// A counter comes into use, at 0.
    Counter(u32),
    Backend(u32, Backend),
    /// A run of slots from this offset.
    Slots(u32, Box<[u32]>),
    Group(u32, Group),
    Table(u32, Table),
    Port(u32, Port),
    Frontend(FrontendKey, Frontend),
    Node(Address, NodeAddress),
    Caller(u64, Caller),
    Class(ClassKey, Class),
}

/// Where something can be written or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Generation,
    Counter(u32),
    Backend(u32),
    /// A run of slots: offset and length.
    Slots(u32, u32),
    Group(u32),
    Table(u32),
    Port(u32),
    Frontend(FrontendKey),
    Node(Address),
    Caller(u64),
    Class(ClassKey),
}

impl Entry {
    pub fn place(&self) -> Place {
        match self {
            Self::Generation(_) => Place::Generation,
            Self::Counter(index) => Place::Counter(*index),
            Self::Backend(id, _) => Place::Backend(*id),
            Self::Slots(offset, run) => {
                Place::Slots(*offset, u32::try_from(run.len()).unwrap_or(u32::MAX))
            }
            Self::Group(id, _) => Place::Group(*id),
            Self::Table(id, _) => Place::Table(*id),
            Self::Port(id, _) => Place::Port(*id),
            Self::Frontend(key, _) => Place::Frontend(*key),
            Self::Node(address, _) => Place::Node(*address),
            Self::Caller(cgroup, _) => Place::Caller(*cgroup),
            Self::Class(key, _) => Place::Class(*key),
        }
    }
}

impl Place {
    /// The frontend's key, if it is one's.
    pub fn frontend(&self) -> Option<&FrontendKey> {
        match self {
            Self::Frontend(key) => Some(key),
            _ => None,
        }
    }
}

impl Image {
    pub fn put(&mut self, entry: &Entry) {
        match entry {
            Entry::Generation(generation) => self.generation = *generation,
            Entry::Counter(index) => self.counters.set(*index, true),
            Entry::Backend(id, backend) => self.backends.set(*id, *backend),
            Entry::Slots(offset, run) => self.slots.write(*offset, run),
            Entry::Group(id, group) => self.groups.set(*id, *group),
            Entry::Table(id, table) => self.tables.set(*id, *table),
            Entry::Port(id, port) => self.ports.set(*id, *port),
            Entry::Frontend(key, frontend) => {
                self.frontends.insert(*key, *frontend);
            }
            Entry::Node(address, node) => {
                self.nodes.insert(*address, *node);
            }
            Entry::Caller(cgroup, caller) => {
                self.callers.insert(*cgroup, *caller);
            }
            Entry::Class(key, class) => {
                self.classes.insert(*key, *class);
            }
        }
    }

    pub fn delete(&mut self, place: Place) {
        match place {
            Place::Generation => self.generation = 0,
            Place::Counter(index) => self.counters.set(index, false),
            Place::Backend(id) => self.backends.set(id, Backend::default()),
            Place::Slots(offset, length) => self.slots.clear(offset, length),
            Place::Group(id) => self.groups.set(id, Group::default()),
            Place::Table(id) => self.tables.set(id, Table::default()),
            Place::Port(id) => self.ports.set(id, Port::default()),
            Place::Frontend(key) => {
                self.frontends.remove(&key);
            }
            Place::Node(address) => {
                self.nodes.remove(&address);
            }
            Place::Caller(cgroup) => {
                self.callers.remove(&cgroup);
            }
            Place::Class(key) => {
                self.classes.remove(&key);
            }
        }
    }

    /// Marks the counters that rows name. For an image that was read from maps; whoever reads also
    /// marks those that are not 0, left over from a process that was interrupted.
    pub fn mark_counters(&mut self) {
        let tables = self
            .tables
            .iter()
            .flat_map(|(_, table)| table.own_counters());
        let groups = self.groups.iter().map(|(_, group)| group.counter);
        let named: Vec<u32> = tables.chain(groups).collect();
        for counter in named.into_iter().filter(|counter| *counter != 0) {
            self.counters.set(counter, true);
        }
    }

    /// At least as many as there are rows; runs of slots are none of their own.
    pub fn size(&self) -> usize {
        let arrays = [
            self.ports.end(),
            self.tables.end(),
            self.groups.end(),
            self.backends.end(),
            self.counters.end(),
        ];
        let arrays: usize = arrays.into_iter().map(|end| end as usize).sum();
        let hashes = self.frontends.len() + self.nodes.len() + self.callers.len();
        2 + hashes + self.classes.len() + arrays
    }

    /// Whether nothing but the generation is left.
    pub fn is_empty(&self) -> bool {
        let Self {
            generation: _,
            frontends,
            nodes,
            callers,
            classes,
            ports,
            tables,
            groups,
            backends,
            slots,
            counters,
        } = self;
        frontends.is_empty()
            && nodes.is_empty()
            && callers.is_empty()
            && classes.is_empty()
            && ports.is_empty()
            && tables.is_empty()
            && groups.is_empty()
            && backends.is_empty()
            && slots.is_empty()
            && counters.is_empty()
    }

    /// The slots by which a table chooses, each as often as it is chosen in a round: of its only group, of its
    /// schedule, or of the places of clients. Cells that were never written read as 0.
    pub fn table_slots(&self, table: Table) -> impl Iterator<Item = u32> {
        let is_sticky = table.group == 0 && table.mode == mode::STICKY;
        let versions = (!is_sticky).then(|| self.table_versions(table));
        let places = if is_sticky { slots::STICKY_SLOTS } else { 0 };
        let cell = move |at: u32| self.slots.get(table.offset.saturating_add(at));
        let place = move |place| {
            let version = slots::unpacked(cell(slots::cell_of(place)), place);
            cell(version)
        };
        versions.into_iter().flatten().chain((0..places).map(place))
    }

    /// The slots of versions that a table has, some more than once.
    pub fn table_versions(&self, table: Table) -> impl Iterator<Item = u32> {
        let only = (table.group != 0).then_some(table.group);
        let length = match (only, table.mode) {
            (Some(_), _) => 0,
            (None, mode::STICKY) => table.length.min(slots::VERSIONS),
            (None, _) => table.length,
        };
        only.into_iter().chain(self.slots.run(table.offset, length))
    }

    /// The classes of a port's callers, by the first of its tables.
    pub fn classes_of(&self, root: u32) -> impl Iterator<Item = (ClassKey, Class)> {
        let at = |cgroup| ClassKey {
            root,
            reserved: 0,
            cgroup,
        };
        let rows = self.classes.range(at(0)..=at(u64::MAX));
        rows.map(|(key, class)| (*key, *class))
    }

    /// The groups that a table can lead to, ordered, each once.
    pub fn table_groups(&self, table: Table) -> BTreeSet<u32> {
        let groups = self.table_versions(table).map(slots::group);
        groups.filter(|group| *group != 0).collect()
    }

    /// The backends that callers of a table may keep.
    pub fn members(&self, table: Table) -> impl Iterator<Item = u32> {
        self.slots.run(table.members, table.member_count)
    }

    pub fn group_slots(&self, group: Group) -> impl Iterator<Item = u32> {
        self.slots.run(group.offset, group.length)
    }

    /// The image as text without ids or offsets: equal for images that act alike.
    pub fn symbolic(&self) -> String {
        self.to_string()
    }
}
