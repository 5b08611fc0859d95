//! The first half of a plan: generation, counters, backends, slots, groups, tables, ports,
//! frontends.

use std::collections::BTreeSet;

use sluice_node_abi::values::{Group, Port, Table};

use super::{Builder, Op};
use crate::image::{Entry, Place};

impl Builder<'_> {
    pub(super) fn puts(&mut self, places: &BTreeSet<Place>) {
        let (from, to) = (self.from, self.to);
        if places.contains(&Place::Generation) && from.generation != to.generation {
            self.put(Entry::Generation(to.generation), Vec::new());
        }
        for place in places {
            match *place {
                Place::Counter(index)
                    if to.counters.contains(index) && !from.counters.contains(index) =>
                {
                    self.put(Entry::Counter(index), Vec::new());
                }
                Place::Backend(id) if to.backends.contains(id) => {
                    let value = to.backends.get(id);
                    if from.backends.get(id) != value {
                        let requires = self.steps_at([Place::Generation]);
                        self.put(Entry::Backend(id, value), requires);
                    }
                }
                _ => {}
            }
        }
        self.put_slots(places);
        for place in places {
            if let Place::Group(id) = *place
                && to.groups.contains(id)
                && from.groups.get(id) != to.groups.get(id)
            {
                self.put_group(id, to.groups.get(id));
            }
        }
        for place in places {
            if let Place::Table(id) = *place
                && to.tables.contains(id)
                && from.tables.get(id) != to.tables.get(id)
            {
                self.put_table(id, to.tables.get(id));
            }
        }
        self.put_fronts(places);
    }

    fn put(&mut self, entry: Entry, requires: Vec<usize>) {
        self.step(Op::Put(entry), requires);
    }

    /// The runs of the tables and groups among the places, and whatever else is wanted there.
    fn put_slots(&mut self, places: &BTreeSet<Place>) {
        let to = self.to;
        for place in places {
            let (offset, length) = match *place {
                Place::Table(id) if to.tables.contains(id) => run_of_table(to.tables.get(id)),
                Place::Group(id) if to.groups.contains(id) => run_of_group(to.groups.get(id)),
                _ => continue,
            };
            self.put_run(offset, length);
        }
        for place in places {
            let Place::Slots(offset, length) = *place else {
                continue;
            };
            let (from, to) = (self.from, self.to);
            let wrong =
                |cell| to.slots.contains(cell) && from.slots.get(cell) != to.slots.get(cell);
            for (offset, length) in self.stretches(offset, length, wrong) {
                self.put_run(offset, length);
            }
        }
    }

    fn put_run(&mut self, offset: u32, length: u32) {
        let run: Box<[u32]> = self.to.slots.run(offset, length).collect();
        if !self.from.slots.run(offset, length).eq(run.iter().copied()) {
            self.put(Entry::Slots(offset, run), Vec::new());
        }
        self.cover(offset, length);
    }

    fn put_group(&mut self, id: u32, group: Group) {
        let backends = self.to.group_slots(group).map(Place::Backend);
        let own = [
            Place::Slots(group.offset, group.length),
            Place::Counter(group.counter),
        ];
        let requires = self.steps_at(backends.chain(own));
        self.put(Entry::Group(id, group), requires);
    }

    fn put_table(&mut self, id: u32, table: Table) {
        let mut groups: Vec<u32> = self.to.table_slots(table).collect();
        groups.sort_unstable();
        groups.dedup();
        let own = [
            Place::Slots(table.offset, table.length),
            Place::Counter(table.counter),
            Place::Table(table.next),
        ];
        let groups = groups.into_iter().map(Place::Group);
        let requires = self.steps_at(groups.chain(own));
        self.put(Entry::Table(id, table), requires);
    }

    fn put_fronts(&mut self, places: &BTreeSet<Place>) {
        let (from, to) = (self.from, self.to);
        for place in places {
            if let Place::Port(id) = *place
                && to.ports.contains(id)
                && from.ports.get(id) != to.ports.get(id)
            {
                let port: Port = to.ports.get(id);
                let requires = self.steps_at([Place::Generation, Place::Table(port.root())]);
                self.put(Entry::Port(id, port), requires);
            }
        }
        for place in places {
            if let Place::Frontend(key) = place
                && let Some(frontend) = to.frontends.get(key)
                && from.frontends.get(key) != Some(frontend)
            {
                let requires = self.steps_at([Place::Port(frontend.port)]);
                self.put(Entry::Frontend(*key, *frontend), requires);
            }
        }
    }
}

pub(super) fn run_of_table(table: Table) -> (u32, u32) {
    (table.offset, table.length)
}

pub(super) fn run_of_group(group: Group) -> (u32, u32) {
    (group.offset, group.length)
}
