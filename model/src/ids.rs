//! Who has which id, and which are free.
//!
//! An id that is freed in a pass cannot be given out in that pass, nor later while the maps still
//! hold its old content: somebody in the kernel may be reading it. It waits in quarantine until the
//! observed image shows its place empty.
//!
//! After a restart everything that the maps hold is *foreign*: reserved, until a Service adopts it
//! by content or the pass that deletes the rest has succeeded. Rows that overlap or share what
//! must not be shared are never adopted, so duplicates are issued anew.

mod ranges;
mod restored;

use std::mem;

use sluice_node_abi::maps::{self, capacity};

use crate::image::Image;

pub use ranges::Ranges;
pub(crate) use restored::Restored;

/// How much each map can hold, entry 0 included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    pub frontends: u32,
    pub nodes: u32,
    pub callers: u32,
    pub classes: u32,
    pub ports: u32,
    pub tables: u32,
    pub slots: u32,
    pub groups: u32,
    pub backends: u32,
    pub counters: u32,
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            frontends: capacity::FRONTENDS,
            nodes: capacity::NODES,
            callers: capacity::CALLERS,
            classes: capacity::CLASSES,
            ports: capacity::PORTS,
            tables: capacity::TABLES,
            slots: capacity::SLOTS,
            groups: capacity::GROUPS,
            backends: capacity::BACKENDS,
            counters: capacity::COUNTERS,
        }
    }
}

/// A map that has no room. Its name is what a person can make larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    pub map: &'static str,
    pub capacity: u32,
}

/// What is free of each map, and the last generation that was issued.
#[derive(Clone, Debug)]
pub struct Ids {
    capacities: Capacities,
    generation: u32,
    ports: Ranges,
    tables: Ranges,
    slots: Ranges,
    groups: Ranges,
    backends: Ranges,
    counters: Ranges,
    quarantine: Vec<Freed>,
    /// The maps held something at the start that nobody has adopted yet.
    foreign: bool,
}

/// A map that ids or ranges are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Map {
    Ports,
    Tables,
    Slots,
    Groups,
    Backends,
    Counters,
}

/// Something that was given back and may still be in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    Port(u32),
    Table {
        id: u32,
        offset: u32,
        length: u32,
    },
    Group {
        id: u32,
        offset: u32,
        length: u32,
    },
    /// A run that was never written.
    Slots {
        offset: u32,
        length: u32,
    },
    Backend(u32),
    Counter(u32),
}

impl Ids {
    pub fn new(capacities: Capacities) -> Self {
        Self {
            capacities,
            generation: 0,
            ports: Ranges::new(1, capacities.ports),
            tables: Ranges::new(1, capacities.tables),
            slots: Ranges::new(0, capacities.slots),
            groups: Ranges::new(1, capacities.groups),
            backends: Ranges::new(1, capacities.backends),
            counters: Ranges::new(1, capacities.counters),
            quarantine: Vec::new(),
            foreign: false,
        }
    }

    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// The last generation that was issued.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn take(&mut self, map: Map, length: u32) -> Result<u32, Full> {
        let Capacities {
            frontends: _,
            nodes: _,
            callers: _,
            classes: _,
            ports,
            tables,
            slots,
            groups,
            backends,
            counters,
        } = self.capacities;
        let (ranges, map, capacity) = match map {
            Map::Ports => (&mut self.ports, maps::PORTS, ports),
            Map::Tables => (&mut self.tables, maps::TABLES, tables),
            Map::Slots => (&mut self.slots, maps::SLOTS, slots),
            Map::Groups => (&mut self.groups, maps::GROUPS, groups),
            Map::Backends => (&mut self.backends, maps::BACKENDS, backends),
            Map::Counters => (&mut self.counters, maps::COUNTERS, counters),
        };
        ranges.take(length).ok_or(Full { map, capacity })
    }

    /// A generation that neither a port nor a backend ever had.
    pub(crate) fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1).max(1);
        self.generation
    }

    pub(crate) fn free(&mut self, freed: Freed) {
        self.quarantine.push(freed);
    }

    /// Ends the quarantine of what has left the maps. True if anything became free.
    pub(crate) fn reclaim(&mut self, observed: &Image) -> bool {
        let waiting = mem::take(&mut self.quarantine);
        let before = waiting.len();
        for freed in waiting {
            if is_present(observed, freed) {
                self.quarantine.push(freed);
            } else {
                self.release(freed);
            }
        }
        self.quarantine.len() < before
    }

    /// Whether [`settle`](Self::settle) has something to do.
    pub(crate) fn has_foreign(&self) -> bool {
        self.foreign
    }

    /// The maps hold exactly this image: everything else is free.
    pub(crate) fn settle(&mut self, image: &Image) {
        let mut fresh = Self::new(self.capacities);
        fresh.generation = self.generation;
        for (id, _) in image.ports.iter() {
            fresh.ports.claim(id, 1);
        }
        for (id, table) in image.tables.iter() {
            fresh.tables.claim(id, 1);
            let (offset, length) = table.own_slots();
            fresh.slots.claim(offset, length);
        }
        for (id, group) in image.groups.iter() {
            fresh.groups.claim(id, 1);
            fresh.slots.claim(group.offset, group.length);
        }
        for (id, _) in image.backends.iter() {
            fresh.backends.claim(id, 1);
        }
        for (index, _) in image.counters.iter() {
            fresh.counters.claim(index, 1);
        }
        *self = fresh;
    }

    fn release(&mut self, freed: Freed) {
        match freed {
            Freed::Port(id) => self.ports.release(id, 1),
            Freed::Backend(id) => self.backends.release(id, 1),
            Freed::Counter(index) => self.counters.release(index, 1),
            Freed::Slots { offset, length } => self.slots.release(offset, length),
            Freed::Table { id, offset, length } => {
                self.tables.release(id, 1);
                self.slots.release(offset, length);
            }
            Freed::Group { id, offset, length } => {
                self.groups.release(id, 1);
                self.slots.release(offset, length);
            }
        }
    }
}

fn is_present(image: &Image, freed: Freed) -> bool {
    match freed {
        Freed::Port(id) => image.ports.contains(id),
        Freed::Table { id, .. } => image.tables.contains(id),
        Freed::Group { id, .. } => image.groups.contains(id),
        Freed::Slots { .. } => false,
        Freed::Backend(id) => image.backends.contains(id),
        Freed::Counter(index) => image.counters.contains(index),
    }
}
