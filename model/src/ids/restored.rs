//! What the maps held when the process started, by content: for adoption.

use std::collections::{BTreeMap, BTreeSet};

use sluice_node_abi::{
    keys::{self, FrontendKey},
    values::{self, mode},
};

use super::Ids;
use crate::{
    desired::Backend,
    image::Image,
    key::{Port, Protocol},
    lower::tables::{Placed, Wanted},
};

/// Rows that can be adopted: they are whole and overlap with nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restored {
    ports: BTreeMap<FrontendKey, (u32, values::Port)>,
    fronts: BTreeMap<u32, Vec<FrontendKey>>,
    /// With the slots that are theirs alone.
    tables: BTreeMap<u32, (values::Table, Vec<u32>)>,
    groups: BTreeMap<(u32, Protocol, Vec<Backend>), (u32, values::Group)>,
    backends: BTreeMap<(Protocol, Backend), (u32, values::Backend)>,
    adopted: BTreeSet<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Port(u32),
    Counter(u32),
}

impl Restored {
    /// Reserves everything that the maps hold, and notes what of it could be adopted.
    pub(crate) fn read(observed: &Image, ids: &mut Ids) -> Self {
        let mut restored = Self::default();
        ids.generation = highest_generation(observed);
        ids.foreign = !observed.is_empty();
        restored.read_backends(observed, ids);
        restored.read_groups(observed, ids);
        restored.read_tables(observed, ids);
        for (index, _) in observed.counters.iter() {
            ids.counters.claim(index, 1);
        }
        for (id, _) in observed.ports.iter() {
            ids.ports.claim(id, 1);
        }
        for (key, frontend) in &observed.frontends {
            let word = observed.ports.get(frontend.port);
            if word.generation() != 0 && frontend.port < ids.capacities.ports {
                restored.ports.insert(*key, (frontend.port, word));
                restored.fronts.entry(frontend.port).or_default().push(*key);
            }
        }
        // A row of a caller would be taken for one of whoever gets the number.
        for key in observed.classes.keys() {
            ids.tables.claim(key.root, 1);
        }
        // What no whole row covers must not be given out either.
        for (offset, _) in observed.slots.iter() {
            ids.slots.claim(offset, 1);
        }
        restored
    }

    /// The ports that these frontends led to and that nobody has adopted.
    pub(crate) fn ports_of(&self, frontends: &[FrontendKey]) -> Vec<(u32, values::Port)> {
        let known = frontends.iter().filter_map(|key| self.ports.get(key));
        let free = |(id, _): &&(u32, values::Port)| !self.adopted.contains(&Row::Port(*id));
        let mut ports: Vec<_> = known.filter(free).copied().collect();
        ports.dedup();
        ports
    }

    pub(crate) fn adopt_port(&mut self, id: u32) {
        self.adopted.insert(Row::Port(id));
    }

    /// Whether every frontend that led to this port is among these.
    pub(crate) fn is_led_to_only_by(&self, port: u32, frontends: &[FrontendKey]) -> bool {
        let fronts = self.fronts.get(&port).into_iter().flatten();
        fronts.into_iter().all(|key| frontends.contains(key))
    }

    pub(crate) fn adopt_backend(
        &mut self,
        protocol: Protocol,
        backend: Backend,
    ) -> Option<(u32, values::Backend)> {
        self.backends.remove(&(protocol, backend))
    }

    /// A group with exactly these backends, over so many slots. The backends themselves are adopted one by one.
    pub(crate) fn adopt_group(
        &mut self,
        mode: u32,
        protocol: Protocol,
        backends: &[Backend],
        slots: usize,
    ) -> Option<(u32, values::Group)> {
        let content = (mode, protocol, backends.to_vec());
        let found = self.groups.remove(&content)?;
        if found.1.length as usize != slots {
            // Its slots would not end where those of others begin.
            return None;
        }
        let counter = found.1.counter;
        (counter == 0 || self.adopted.insert(Row::Counter(counter))).then_some(found)
    }

    /// The tables from this id on, if they are `wanted`, over these groups of the image.
    pub(crate) fn adopt_tables(
        &mut self,
        root: u32,
        wanted: &[Wanted],
        image: &Image,
    ) -> Option<Vec<values::Table>> {
        let found: Option<Vec<values::Table>> = (root..)
            .zip(wanted)
            .map(|(id, wanted)| {
                let (table, own) = self.tables.get(&id)?;
                let same = wanted.row(image, Placed::of(*table)) == *table
                    && wanted.own_slots().eq(own.iter().copied());
                let counter = Row::Counter(table.own_counter());
                let free = counter == Row::Counter(0) || !self.adopted.contains(&counter);
                (same && free).then_some(*table)
            })
            .collect();
        let found = found?;
        let counters = found.iter().map(values::Table::own_counter);
        let mut counters: Vec<u32> = counters.filter(|counter| *counter != 0).collect();
        let own = counters.len();
        counters.sort_unstable();
        counters.dedup();
        if counters.len() < own {
            return None;
        }
        for (id, _) in (root..).zip(wanted) {
            self.tables.remove(&id);
        }
        self.adopted.extend(counters.into_iter().map(Row::Counter));
        Some(found)
    }

    fn read_backends(&mut self, observed: &Image, ids: &mut Ids) {
        for (id, value) in observed.backends.iter() {
            if !ids.backends.claim(id, 1) || value.generation == 0 {
                continue;
            }
            if let Some(content) = backend(value) {
                self.backends.entry(content).or_insert((id, value));
            }
        }
    }

    fn read_groups(&mut self, observed: &Image, ids: &mut Ids) {
        for (id, group) in observed.groups.iter() {
            if !ids.groups.claim(id, 1)
                || group.counter >= ids.capacities.counters
                || !ids.slots.claim(group.offset, group.length)
            {
                continue;
            }
            let mut protocol = None;
            let content: Option<Vec<Backend>> = observed
                .group_slots(group)
                .map(|slot| {
                    let (of, backend) = backend(observed.backends.get(slot))?;
                    let (known, _) = self.backends.get(&(of, backend))?;
                    let one_protocol = *protocol.get_or_insert(of) == of;
                    (one_protocol && *known == slot).then_some(backend)
                })
                .collect();
            if let (Some(protocol), Some(mut content)) = (protocol, content) {
                if group.mode == mode::CONSISTENT {
                    // Its slots follow from its backends.
                    content.sort_unstable();
                    content.dedup();
                }
                let content = (group.mode, protocol, content);
                self.groups.entry(content).or_insert((id, group));
            }
        }
    }

    fn read_tables(&mut self, observed: &Image, ids: &mut Ids) {
        for (id, table) in observed.tables.iter() {
            let (offset, length) = table.own_slots();
            if ids.tables.claim(id, 1)
                && table.own_counters().end <= ids.capacities.counters
                && (length == 0 || ids.slots.claim(offset, length))
            {
                let own = observed.slots.run(offset, length).collect();
                self.tables.insert(id, (table, own));
            }
        }
    }
}

fn backend(value: values::Backend) -> Option<(Protocol, Backend)> {
    let backend = Backend {
        ip: keys::ip(value.address),
        port: Port::new(u16::from_be_bytes(value.port))?,
    };
    Some((Protocol::from_number(value.protocol)?, backend))
}

fn highest_generation(observed: &Image) -> u32 {
    let ports = observed.ports.iter().map(|(_, port)| port.generation());
    let backends = observed.backends.iter().map(|(_, b)| b.generation);
    let issued = ports.chain(backends).max().unwrap_or_default();
    issued.max(observed.generation)
}
