//! The maps as pinned.

use std::io;

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use sluice_model::{
    ids::Capacities,
    image::{Entry, Image, Place},
    plan::Op,
};
use sluice_node_abi::{
    keys::{Address, ClassKey, FrontendKey},
    maps::{self, Setting},
    tally::Tally,
    values::{Backend, BackendRow, Caller, Class, Frontend, Group, NodeAddress, Port, Table},
    verdict::Verdict,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, transmute};

use super::{ElementError, MapOpenError, Mapped, Maps, MapsError};
use crate::{
    bpf::GracePeriod,
    program::{Found, Pins},
};

type KeyBytes = [u8; size_of::<FrontendKey>()];
type FrontendBytes = [u8; size_of::<Frontend>()];
type NodeBytes = [u8; size_of::<NodeAddress>()];
type ClassBytes = [u8; size_of::<ClassKey>()];
type CallerBytes = [u8; size_of::<Caller>()];

/// Every map that user space writes or reads.
pub struct Kernel {
    pub frontends: HashMap<MapData, KeyBytes, FrontendBytes>,
    frontends_capacity: u32,
    pub nodes: HashMap<MapData, Address, NodeBytes>,
    nodes_capacity: u32,
    pub callers: HashMap<MapData, u64, CallerBytes>,
    callers_capacity: u32,
    pub classes: HashMap<MapData, ClassBytes, u64>,
    classes_capacity: u32,
    pub ports: Mapped<Port>,
    pub tables: Mapped<Table>,
    pub slots: Mapped<u32>,
    pub groups: Mapped<Group>,
    pub backends: Mapped<BackendRow>,
    pub counters: Mapped<u64>,
    pub settings: Mapped<u64>,
    pub verdicts: PerCpuArray<MapData, u64>,
    pub tallies: PerCpuArray<MapData, u64>,
    grace: GracePeriod,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("map {name}")]
    Map {
        name: &'static str,
        source: MapOpenError,
    },
    #[error("cannot make the map of maps that the wait for running programs needs")]
    Grace(#[source] io::Error),
}

impl Kernel {
    /// Opens what [`Programs::load`](crate::program::Programs::load) pinned.
    pub fn open(pins: &Pins) -> Result<Self, OpenError> {
        let (mut frontends_capacity, mut nodes_capacity) = (0, 0);
        let (mut callers_capacity, mut classes_capacity) = (0, 0);
        Ok(Self {
            frontends: open(pins, maps::FRONTENDS, |map| {
                frontends_capacity = map.info()?.max_entries();
                Ok(HashMap::try_from(Map::HashMap(map))?)
            })?,
            frontends_capacity,
            nodes: open(pins, maps::NODES, |map| {
                nodes_capacity = map.info()?.max_entries();
                Ok(HashMap::try_from(Map::HashMap(map))?)
            })?,
            nodes_capacity,
            callers: open(pins, maps::CALLERS, |map| {
                callers_capacity = map.info()?.max_entries();
                Ok(HashMap::try_from(Map::HashMap(map))?)
            })?,
            callers_capacity,
            classes: open(pins, maps::CLASSES, |map| {
                classes_capacity = map.info()?.max_entries();
                Ok(HashMap::try_from(Map::HashMap(map))?)
            })?,
            classes_capacity,
            ports: open(pins, maps::PORTS, |map| Mapped::open(&map))?,
            tables: open(pins, maps::TABLES, |map| Mapped::open(&map))?,
            slots: open(pins, maps::SLOTS, |map| Mapped::open(&map))?,
            groups: open(pins, maps::GROUPS, |map| Mapped::open(&map))?,
            backends: open(pins, maps::BACKENDS, |map| Mapped::open(&map))?,
            counters: open(pins, maps::COUNTERS, |map| Mapped::open(&map))?,
            settings: open(pins, maps::SETTINGS, |map| Mapped::open(&map))?,
            verdicts: open(pins, maps::VERDICTS, |map| {
                Ok(PerCpuArray::try_from(Map::PerCpuArray(map))?)
            })?,
            tallies: open(pins, maps::TALLIES, |map| {
                Ok(PerCpuArray::try_from(Map::PerCpuArray(map))?)
            })?,
            grace: GracePeriod::new().map_err(OpenError::Grace)?,
        })
    }

    /// How often each verdict was given since the maps were made, over all CPUs.
    pub fn verdicts(&self) -> Result<Vec<(Verdict, u64)>, MapError> {
        let count = |verdict| Ok((verdict, sum(&self.verdicts, verdict as u32)?));
        Verdict::ALL.into_iter().map(count).collect()
    }

    /// What else programs have counted since the maps were made, over all CPUs.
    pub fn tallies(&self) -> Result<Vec<(Tally, u64)>, MapError> {
        let count = |tally| Ok((tally, sum(&self.tallies, tally as u32)?));
        Tally::ALL.into_iter().map(count).collect()
    }

    pub fn setting(&self, setting: Setting) -> u64 {
        self.settings.read(setting as u32).unwrap_or_default()
    }

    pub fn set(&self, setting: Setting, value: u64) -> Result<(), MapsError> {
        let written = self.settings.write(setting as u32, value);
        written.map_err(in_map(maps::SETTINGS))
    }

    /// Takes over from maps of any version: no generation of theirs is given out again, and what was
    /// switched off stays so.
    pub fn go_on_from(&self, found: &Found) -> Result<(), MapsError> {
        let raise =
            |setting: Setting, least: u64| self.set(setting, self.setting(setting).max(least));
        raise(Setting::Generation, found.generation)?;
        raise(Setting::Off, found.off.into())
    }

    fn put(&mut self, entry: &Entry) -> Result<(), MapsError> {
        match entry {
            Entry::Generation(generation) => self.set(Setting::Generation, (*generation).into()),
            Entry::Counter(index) => self
                .counters
                .write(*index, 0)
                .map_err(in_map(maps::COUNTERS)),
            Entry::Backend(id, backend) => self.put_backend(*id, *backend),
            Entry::Slots(offset, run) => self
                .put_slots(*offset, run.iter().copied())
                .map_err(in_map(maps::SLOTS)),
            Entry::Group(id, group) => self.groups.write(*id, *group).map_err(in_map(maps::GROUPS)),
            Entry::Table(id, table) => self.tables.write(*id, *table).map_err(in_map(maps::TABLES)),
            Entry::Port(id, port) => self.ports.swap(*id, *port).map_err(in_map(maps::PORTS)),
            Entry::Frontend(key, frontend) => {
                let (key, value): (KeyBytes, FrontendBytes) =
                    (transmute!(*key), transmute!(*frontend));
                let put = self.frontends.insert(key, value, 0);
                put.map_err(in_row("put", "a frontend"))
            }
            Entry::Node(address, node) => {
                let value: NodeBytes = transmute!(*node);
                let put = self.nodes.insert(address, value, 0);
                put.map_err(in_row("put", "a node's address"))
            }
            Entry::Caller(cgroup, caller) => {
                let value: CallerBytes = transmute!(*caller);
                let put = self.callers.insert(cgroup, value, 0);
                put.map_err(in_row("put", "a caller"))
            }
            Entry::Class(key, class) => {
                let key: ClassBytes = transmute!(*key);
                let put = self.classes.insert(key, class.0, 0);
                put.map_err(in_row("put", "a caller's class"))
            }
        }
    }

    fn delete(&mut self, place: Place) -> Result<(), MapsError> {
        match place {
            Place::Frontend(key) => {
                let key: KeyBytes = transmute!(key);
                gone(self.frontends.remove(&key)).map_err(in_row("delete", "a frontend"))
            }
            Place::Node(address) => {
                gone(self.nodes.remove(&address)).map_err(in_row("delete", "a node's address"))
            }
            Place::Caller(cgroup) => {
                gone(self.callers.remove(&cgroup)).map_err(in_row("delete", "a caller"))
            }
            Place::Class(key) => {
                let key: ClassBytes = transmute!(key);
                gone(self.classes.remove(&key)).map_err(in_row("delete", "a caller's class"))
            }
            Place::Generation => self.put(&Entry::Generation(0)),
            Place::Counter(index) => self.put(&Entry::Counter(index)),
            // A socket may be counted down even now; whoever gets the id next starts at none.
            Place::Backend(id) => self
                .backends
                .write(id, BackendRow::default())
                .map_err(in_map(maps::BACKENDS)),
            Place::Slots(offset, length) => {
                let zeros = (0..length).map(|_| 0);
                self.put_slots(offset, zeros).map_err(in_map(maps::SLOTS))
            }
            Place::Group(id) => self.put(&Entry::Group(id, Group::default())),
            Place::Table(id) => self.put(&Entry::Table(id, Table::default())),
            Place::Port(id) => self.put(&Entry::Port(id, Port::default())),
        }
    }

    /// A row that is only put right goes on counting its sockets.
    fn put_backend(&self, id: u32, backend: Backend) -> Result<(), MapsError> {
        let failed = in_map(maps::BACKENDS);
        let there = self.backends.read(id).map_err(failed)?;
        if there.backend.generation == backend.generation {
            return self.backends.put_right(id, backend).map_err(failed);
        }
        let row = BackendRow {
            backend,
            sockets: 0,
        };
        self.backends.write(id, row).map_err(failed)
    }

    fn put_slots(&self, offset: u32, run: impl Iterator<Item = u32>) -> Result<(), ElementError> {
        (offset..)
            .zip(run)
            .try_for_each(|(index, value)| self.slots.write(index, value))
    }
}

impl Maps for Kernel {
    fn capacities(&self) -> Capacities {
        Capacities {
            frontends: self.frontends_capacity,
            nodes: self.nodes_capacity,
            callers: self.callers_capacity,
            classes: self.classes_capacity,
            ports: self.ports.capacity(),
            tables: self.tables.capacity(),
            slots: self.slots.capacity(),
            groups: self.groups.capacity(),
            backends: self.backends.capacity(),
            counters: self.counters.capacity(),
        }
    }

    fn read(&self) -> Result<Image, MapsError> {
        let mut image = Image::default();
        for row in &self.frontends {
            let (key, value) = row.map_err(in_row("read", "a frontend"))?;
            image.frontends.insert(transmute!(key), transmute!(value));
        }
        for row in &self.nodes {
            let (address, value) = row.map_err(in_row("read", "a node's address"))?;
            image.nodes.insert(address, transmute!(value));
        }
        for row in &self.callers {
            let (cgroup, value) = row.map_err(in_row("read", "a caller"))?;
            image.callers.insert(cgroup, transmute!(value));
        }
        for row in &self.classes {
            let (key, class) = row.map_err(in_row("read", "a caller's class"))?;
            image.classes.insert(transmute!(key), Class(class));
        }
        image.generation = self.setting(Setting::Generation) as u32;
        read(maps::PORTS, &self.ports, |id, port| {
            image.ports.set(id, port);
        })?;
        read(maps::TABLES, &self.tables, |id, table| {
            image.tables.set(id, table);
        })?;
        read(maps::GROUPS, &self.groups, |id, group| {
            image.groups.set(id, group);
        })?;
        read(maps::BACKENDS, &self.backends, |id, row| {
            image.backends.set(id, row.backend);
        })?;
        read(maps::SLOTS, &self.slots, |index, slot| {
            image.slots.set(index, slot);
        })?;
        // One that counts and belongs to nobody has to be zeroed.
        read(maps::COUNTERS, &self.counters, |index, _| {
            image.counters.set(index, true);
        })?;
        image.mark_counters();
        Ok(image)
    }

    fn write(&mut self, op: &Op) -> Result<(), MapsError> {
        match op {
            Op::Put(entry) => self.put(entry),
            Op::Delete(place) => self.delete(*place),
            Op::Barrier => self.grace.wait().map_err(MapsError::Barrier),
        }
    }

    fn counter(&self, index: u32) -> Result<u64, MapsError> {
        self.counters.read(index).map_err(in_map(maps::COUNTERS))
    }

    fn are_switched_off(&self) -> bool {
        self.setting(Setting::Off) != 0
    }
}

fn sum(per_cpu: &PerCpuArray<MapData, u64>, index: u32) -> Result<u64, MapError> {
    Ok(per_cpu.get(&index, 0)?.iter().sum())
}

/// Every element that is not all zero.
fn read<T>(name: &'static str, map: &Mapped<T>, found: impl FnMut(u32, T)) -> Result<(), MapsError>
where
    T: IntoBytes + FromBytes + Immutable + Copy + Default + PartialEq,
{
    map.each(found).map_err(in_map(name))
}

fn in_row(doing: &'static str, what: &'static str) -> impl Fn(MapError) -> MapsError + Copy {
    move |source| MapsError::Row {
        doing,
        what,
        source,
    }
}

fn gone(deleted: Result<(), MapError>) -> Result<(), MapError> {
    match deleted {
        Err(MapError::KeyNotFound) => Ok(()),
        deleted => deleted,
    }
}

fn in_map(map: &'static str) -> impl Fn(ElementError) -> MapsError + Copy {
    move |source| MapsError::Element { map, source }
}

fn open<T>(
    pins: &Pins,
    name: &'static str,
    wrap: impl FnOnce(MapData) -> Result<T, MapOpenError>,
) -> Result<T, OpenError> {
    let opened = MapData::from_pin(pins.map(name))
        .map_err(MapOpenError::from)
        .and_then(wrap);
    opened.map_err(|source| OpenError::Map { name, source })
}
