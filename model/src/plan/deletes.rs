//! The second half of a plan: frontends, nodes, barrier, ports, classes of callers, tables, groups, slots,
//! backends, counters.
//!
//! Nothing is deleted before everything that leads to it has been turned elsewhere: a row's delete
//! requires the step of each row that named it in the old image.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Builder, Op, Rank, index,
    puts::{run_of_group, run_of_table},
};
use crate::image::{Array, Image, Place};

/// For each place, the steps that turn away what led to it.
type Leavers = BTreeMap<Place, Vec<u32>>;

impl Builder<'_> {
    pub(super) fn delete_nodes(&mut self, places: &[Place]) {
        for place in places {
            if let Place::Node(address) = place
                && self.from.nodes.contains_key(address)
                && !self.to.nodes.contains_key(address)
            {
                self.step(Op::Delete(*place), Vec::new());
            }
        }
    }

    pub(super) fn deletes(&mut self, places: &[Place]) {
        let (from, to) = (self.from, self.to);
        for place in places {
            if let Place::Frontend(key) = place
                && from.frontends.contains_key(key)
                && !to.frontends.contains_key(key)
            {
                self.step(Op::Delete(*place), Vec::new());
            }
        }
        self.put_nodes(places);
        self.put_callers(places, false);
        for place in places {
            if let Place::Caller(cgroup) = place
                && from.callers.contains_key(cgroup)
                && !to.callers.contains_key(cgroup)
            {
                self.step(Op::Delete(*place), Vec::new());
            }
        }
        let barrier = self.steps.len();
        self.step(Op::Barrier, Vec::new());
        let mut leavers = Leavers::new();
        self.leave_ports(&mut leavers);
        self.delete_rows(
            places,
            barrier,
            &mut leavers,
            |place| matches!(place, Place::Port(id) if goes(&from.ports, &to.ports, id)),
        );
        self.leave_tables(&mut leavers);
        self.delete_classes(places, barrier, &mut leavers);
        self.delete_rows(
            places,
            barrier,
            &mut leavers,
            |place| matches!(place, Place::Table(id) if goes(&from.tables, &to.tables, id)),
        );
        self.leave_groups(&mut leavers);
        self.delete_rows(
            places,
            barrier,
            &mut leavers,
            |place| matches!(place, Place::Group(id) if goes(&from.groups, &to.groups, id)),
        );
        self.leave_backends(&mut leavers);
        self.clear_slots(places, barrier);
        self.delete_rows(
            places,
            barrier,
            &mut leavers,
            |place| matches!(place, Place::Backend(id) if goes(&from.backends, &to.backends, id)),
        );
        self.delete_rows(
            places,
            barrier,
            &mut leavers,
            |place| matches!(place, Place::Counter(at) if goes(&from.counters, &to.counters, at)),
        );
        if self.steps.len() == barrier + 1 {
            self.steps.truncate(barrier);
        }
    }

    /// A table's number is not given out again while a caller's row names it.
    fn delete_classes(&mut self, places: &[Place], barrier: usize, leavers: &mut Leavers) {
        let mut gone = Leavers::new();
        for place in places {
            if let Place::Class(key) = place
                && self.from.classes.contains_key(key)
                && !self.to.classes.contains_key(key)
            {
                let root = Place::Table(key.root);
                let mut requires = leavers.get(&root).cloned().unwrap_or_default();
                requires.push(index(barrier));
                gone.entry(root).or_default().push(index(self.steps.len()));
                self.step(Op::Delete(*place), requires);
            }
        }
        for (root, steps) in gone {
            leavers.entry(root).or_default().extend(steps);
        }
    }

    fn delete_rows(
        &mut self,
        places: &[Place],
        barrier: usize,
        leavers: &mut Leavers,
        goes: impl Fn(Place) -> bool,
    ) {
        for place in places.iter().filter(|place| goes(**place)) {
            let mut requires = leavers.remove(place).unwrap_or_default();
            requires.push(index(barrier));
            requires.sort_unstable();
            requires.dedup();
            self.step(Op::Delete(*place), requires);
        }
    }

    /// The steps that put or delete rows of one map, with their places.
    fn steps_of(&self, put: Rank, delete: Rank) -> impl Iterator<Item = (u32, Place)> {
        let steps = self.of_rank(put).chain(self.of_rank(delete));
        steps.filter_map(|at| Some((index(at), self.steps[at].op.place()?)))
    }

    /// Frontends that lead to another port, or to none, from now on.
    fn leave_ports(&self, leavers: &mut Leavers) {
        for (step, place) in self.steps_of(Rank::PutFrontend, Rank::DeleteFrontend) {
            if let Place::Frontend(key) = place
                && let Some(old) = self.from.frontends.get(&key)
            {
                leavers.entry(Place::Port(old.port)).or_default().push(step);
            }
        }
    }

    fn leave_tables(&self, leavers: &mut Leavers) {
        for (step, place) in self.steps_of(Rank::PutPort, Rank::DeletePort) {
            if let Place::Port(id) = place
                && self.from.ports.contains(id)
            {
                for table in self.from.ports.get(id).tables() {
                    leavers.entry(Place::Table(table)).or_default().push(step);
                }
            }
        }
    }

    fn leave_groups(&self, leavers: &mut Leavers) {
        for (step, place) in self.steps_of(Rank::PutTable, Rank::DeleteTable) {
            let Place::Table(id) = place else { continue };
            let old = self.from.tables.get(id);
            let groups = self.from.table_groups(old).into_iter().map(Place::Group);
            let counters = old.own_counters().map(Place::Counter);
            for left in groups.chain(counters).chain([Place::Table(old.next)]) {
                leavers.entry(left).or_default().push(step);
            }
        }
    }

    fn leave_backends(&self, leavers: &mut Leavers) {
        for (step, place) in self.steps_of(Rank::PutGroup, Rank::DeleteGroup) {
            let Place::Group(id) = place else { continue };
            let old = self.from.groups.get(id);
            let backends = distinct(self.from.group_slots(old)).map(Place::Backend);
            for left in backends.chain([Place::Counter(old.counter)]) {
                leavers.entry(left).or_default().push(step);
            }
        }
    }

    /// Zeroes the runs of the rows that go, and whatever else is to be zero among the places.
    fn clear_slots(&mut self, places: &[Place], barrier: usize) {
        let (from, to) = (self.from, self.to);
        let stale = |cell| from.slots.contains(cell) && !to.slots.contains(cell);
        let tables = self.steps_of(Rank::PutTable, Rank::DeleteTable);
        let groups = self.steps_of(Rank::PutGroup, Rank::DeleteGroup);
        let gone: Vec<(u32, u32, u32)> = tables
            .chain(groups)
            .filter_map(|(step, place)| {
                let (offset, length) = old_run(from, place)?;
                Some((step, offset, length))
            })
            .collect();
        for (step, offset, length) in gone {
            for (offset, length) in self.stretches(offset, length, stale) {
                self.clear(offset, length, vec![index(barrier), step]);
            }
        }
        for place in places {
            let Place::Slots(offset, length) = *place else {
                continue;
            };
            for (offset, length) in self.stretches(offset, length, stale) {
                self.clear(offset, length, vec![index(barrier)]);
            }
        }
    }

    fn clear(&mut self, offset: u32, length: u32, requires: Vec<u32>) {
        self.step(Op::Delete(Place::Slots(offset, length)), requires);
        self.cover(offset, length);
    }
}

fn goes<T: Copy + Default + PartialEq>(from: &Array<T>, to: &Array<T>, id: u32) -> bool {
    from.contains(id) && !to.contains(id)
}

fn old_run(from: &Image, place: Place) -> Option<(u32, u32)> {
    match place {
        Place::Table(id) => Some(run_of_table(from.tables.get(id))),
        Place::Group(id) => Some(run_of_group(from.groups.get(id))),
        _ => None,
    }
}

fn distinct(ids: impl Iterator<Item = u32>) -> impl Iterator<Item = u32> {
    ids.collect::<BTreeSet<u32>>().into_iter()
}
