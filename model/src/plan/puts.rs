//! The first half of a plan: generation, counters, backends, slots, groups, tables, classes of callers, ports,
//! frontends.

use std::collections::BTreeSet;

use sluice_node_abi::values::{Group, Port, Table, caller};

use super::{Builder, Op, Rank};
use crate::image::{Entry, Place};

impl Builder<'_> {
    pub(super) fn puts(&mut self, places: &[Place]) {
        let (from, to) = (self.from, self.to);
        if places.contains(&Place::Generation) && from.generation != to.generation {
            self.put(Entry::Generation(to.generation), Vec::new());
        }
        for place in places {
            if let Place::Counter(index) = *place
                && to.counters.contains(index)
                && !from.counters.contains(index)
            {
                self.put(Entry::Counter(index), Vec::new());
            }
        }
        for place in places {
            if let Place::Backend(id) = *place
                && to.backends.contains(id)
                && from.backends.get(id) != to.backends.get(id)
            {
                self.put(Entry::Backend(id, to.backends.get(id)), Vec::new());
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
        for place in places {
            if let Place::Class(key) = place
                && let Some(class) = to.classes.get(key)
                && from.classes.get(key) != Some(class)
            {
                let requires = self.steps_at(Rank::PutTable, [Place::Table(class.table())]);
                self.put(Entry::Class(*key, *class), requires);
            }
        }
        self.put_fronts(places);
    }

    /// Who opts out does so before anything changes, and who does no longer when everything has.
    pub(super) fn put_callers(&mut self, places: &[Place], opted_out: bool) {
        for place in places {
            if let Place::Caller(cgroup) = place
                && let Some(row) = self.to.callers.get(cgroup)
                && self.from.callers.get(cgroup) != Some(row)
                && (row.flags & caller::OPTED_OUT != 0) == opted_out
            {
                self.put(Entry::Caller(*cgroup, *row), Vec::new());
            }
        }
    }

    pub(super) fn put_nodes(&mut self, places: &[Place]) {
        for place in places {
            if let Place::Node(address) = place
                && let Some(node) = self.to.nodes.get(address)
                && self.from.nodes.get(address) != Some(node)
            {
                self.put(Entry::Node(*address, *node), Vec::new());
            }
        }
    }

    fn put(&mut self, entry: Entry, requires: Vec<u32>) {
        self.step(Op::Put(entry), requires);
    }

    /// The runs of the tables and groups among the places, and whatever else is wanted there.
    fn put_slots(&mut self, places: &[Place]) {
        let (from, to) = (self.from, self.to);
        let mut runs = BTreeSet::new();
        for place in places {
            let run = match *place {
                Place::Table(id) if to.tables.contains(id) => run_of_table(to.tables.get(id)),
                Place::Group(id) if to.groups.contains(id) => run_of_group(to.groups.get(id)),
                _ => continue,
            };
            self.cover(run.0, run.1);
            runs.insert(run);
        }
        for place in places {
            let Place::Slots(offset, length) = *place else {
                continue;
            };
            let wrong =
                |cell| to.slots.contains(cell) && from.slots.get(cell) != to.slots.get(cell);
            for run in self.stretches(offset, length, wrong) {
                self.cover(run.0, run.1);
                runs.insert(run);
            }
        }
        for (offset, length) in runs {
            let run: Box<[u32]> = to.slots.run(offset, length).collect();
            if !from.slots.run(offset, length).eq(run.iter().copied()) {
                self.put(Entry::Slots(offset, run), Vec::new());
            }
        }
    }

    fn put_group(&mut self, id: u32, group: Group) {
        let backends: BTreeSet<u32> = self.to.group_slots(group).collect();
        let backends = backends.into_iter().map(Place::Backend);
        let mut requires = self.steps_at(Rank::PutCounter, [Place::Counter(group.counter)]);
        requires.extend(self.steps_at(Rank::PutBackend, backends));
        let run = Place::Slots(group.offset, group.length);
        requires.extend(self.steps_at(Rank::PutSlots, [run]));
        self.put(Entry::Group(id, group), requires);
    }

    fn put_table(&mut self, id: u32, table: Table) {
        let groups = self.to.table_groups(table).into_iter().map(Place::Group);
        let counters = table.own_counters().map(Place::Counter);
        let mut requires = self.steps_at(Rank::PutCounter, counters);
        let (offset, length) = table.own_slots();
        let run = Place::Slots(offset, length);
        requires.extend(self.steps_at(Rank::PutSlots, [run]));
        requires.extend(self.steps_at(Rank::PutGroup, groups));
        requires.extend(self.steps_at(Rank::PutTable, [Place::Table(table.next)]));
        self.put(Entry::Table(id, table), requires);
    }

    fn put_fronts(&mut self, places: &[Place]) {
        let (from, to) = (self.from, self.to);
        for place in places {
            if let Place::Port(id) = *place
                && to.ports.contains(id)
                && from.ports.get(id) != to.ports.get(id)
            {
                let port: Port = to.ports.get(id);
                let mut requires = self.steps_at(Rank::PutGeneration, [Place::Generation]);
                let tables = port.tables().map(Place::Table);
                requires.extend(self.steps_at(Rank::PutTable, tables));
                if port.classes() > 0 {
                    requires.extend(self.class_steps(Rank::PutClass, port.root()));
                }
                self.put(Entry::Port(id, port), requires);
            }
        }
        for place in places {
            if let Place::Frontend(key) = place
                && let Some(frontend) = to.frontends.get(key)
                && from.frontends.get(key) != Some(frontend)
            {
                let requires = self.steps_at(Rank::PutPort, [Place::Port(frontend.port)]);
                self.put(Entry::Frontend(*key, *frontend), requires);
            }
        }
    }
}

pub(super) fn run_of_table(table: Table) -> (u32, u32) {
    table.own_slots()
}

pub(super) fn run_of_group(group: Group) -> (u32, u32) {
    (group.offset, group.length)
}
