//! The second half of a plan: frontends, barrier, ports, tables, groups, slots, backends,
//! counters.
//!
//! Nothing is deleted before everything that leads to it has been turned elsewhere: a row's delete
//! requires the step of each row that named it in the old image.

use std::collections::{BTreeMap, BTreeSet};

use super::puts::{run_of_group, run_of_table};
use super::{Builder, Op};
use crate::image::{Image, Place};

/// For each place, the steps that turn away what led to it.
type Leavers = BTreeMap<Place, Vec<usize>>;

impl Builder<'_> {
    pub(super) fn deletes(&mut self, places: &BTreeSet<Place>) {
        let (from, to) = (self.from, self.to);
        for place in places {
            if let Place::Frontend(key) = place
                && from.frontends.contains_key(key)
                && !to.frontends.contains_key(key)
            {
                self.step(Op::Delete(*place), Vec::new());
            }
        }
        let barrier_at = self.steps.len();
        self.step(Op::Barrier, Vec::new());
        let mut leavers = Leavers::new();
        self.leave_ports(&mut leavers);
        self.delete_rows(places, barrier_at, &mut leavers, |place| match place {
            Place::Port(id) => from.ports.contains(id) && !to.ports.contains(id),
            _ => false,
        });
        self.leave_tables(&mut leavers);
        self.delete_rows(places, barrier_at, &mut leavers, |place| match place {
            Place::Table(id) => from.tables.contains(id) && !to.tables.contains(id),
            _ => false,
        });
        self.leave_groups(&mut leavers);
        self.delete_rows(places, barrier_at, &mut leavers, |place| match place {
            Place::Group(id) => from.groups.contains(id) && !to.groups.contains(id),
            _ => false,
        });
        self.leave_backends(&mut leavers);
        self.clear_slots(places, barrier_at);
        self.delete_rows(places, barrier_at, &mut leavers, |place| match place {
            Place::Backend(id) => from.backends.contains(id) && !to.backends.contains(id),
            Place::Counter(index) => from.counters.contains(index) && !to.counters.contains(index),
            _ => false,
        });
        if self.steps.len() == barrier_at + 1 {
            self.steps.truncate(barrier_at);
        }
    }

    fn delete_rows(
        &mut self,
        places: &BTreeSet<Place>,
        barrier: usize,
        leavers: &mut Leavers,
        goes: impl Fn(Place) -> bool,
    ) {
        for place in places.iter().filter(|place| goes(**place)) {
            let mut requires = leavers.remove(place).unwrap_or_default();
            requires.push(barrier);
            requires.sort_unstable();
            requires.dedup();
            self.step(Op::Delete(*place), requires);
        }
    }

    /// Frontends that lead to another port, or to none, from now on.
    fn leave_ports(&self, leavers: &mut Leavers) {
        for (place, step) in &self.step_of {
            if let Place::Frontend(key) = place
                && let Some(old) = self.from.frontends.get(key)
            {
                leavers
                    .entry(Place::Port(old.port))
                    .or_default()
                    .push(*step);
            }
        }
    }

    fn leave_tables(&self, leavers: &mut Leavers) {
        for (place, step) in &self.step_of {
            if let Place::Port(id) = place {
                let old = self.from.ports.get(*id).root();
                leavers.entry(Place::Table(old)).or_default().push(*step);
            }
        }
    }

    fn leave_groups(&self, leavers: &mut Leavers) {
        for (place, step) in &self.step_of {
            let Place::Table(id) = place else { continue };
            let old = self.from.tables.get(*id);
            for group in distinct(self.from.table_slots(old)) {
                leavers.entry(Place::Group(group)).or_default().push(*step);
            }
            leavers
                .entry(Place::Counter(old.counter))
                .or_default()
                .push(*step);
        }
    }

    fn leave_backends(&self, leavers: &mut Leavers) {
        for (place, step) in &self.step_of {
            let Place::Group(id) = place else { continue };
            let old = self.from.groups.get(*id);
            for backend in distinct(self.from.group_slots(old)) {
                leavers
                    .entry(Place::Backend(backend))
                    .or_default()
                    .push(*step);
            }
            leavers
                .entry(Place::Counter(old.counter))
                .or_default()
                .push(*step);
        }
    }

    /// Zeroes the runs of the rows that go, and whatever else is to be zero among the places.
    fn clear_slots(&mut self, places: &BTreeSet<Place>, barrier: usize) {
        let (from, to) = (self.from, self.to);
        let stale = |cell| from.slots.contains(cell) && !to.slots.contains(cell);
        let gone: Vec<((u32, u32), usize)> = self
            .step_of
            .iter()
            .filter_map(|(place, step)| Some((old_run(from, *place)?, *step)))
            .collect();
        for ((offset, length), step) in gone {
            for (offset, length) in self.stretches(offset, length, stale) {
                self.clear(offset, length, vec![barrier, step]);
            }
        }
        for place in places {
            let Place::Slots(offset, length) = *place else {
                continue;
            };
            for (offset, length) in self.stretches(offset, length, stale) {
                self.clear(offset, length, vec![barrier]);
            }
        }
    }

    fn clear(&mut self, offset: u32, length: u32, requires: Vec<usize>) {
        self.step(Op::Delete(Place::Slots(offset, length)), requires);
        self.cover(offset, length);
    }
}

fn old_run(from: &Image, place: Place) -> Option<(u32, u32)> {
    match place {
        Place::Table(id) => Some(run_of_table(from.tables.get(id))),
        Place::Group(id) => Some(run_of_group(from.groups.get(id))),
        _ => None,
    }
}

fn distinct(ids: impl Iterator<Item = u32>) -> BTreeSet<u32> {
    ids.collect()
}
