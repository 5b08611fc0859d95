//! Tables: one per port and class, those of a port side by side; never shared, never rewritten in place.
//!
//! A table over one group takes that group's row for its own, so that a connect needs one row less; a
//! group is never rewritten either while somebody uses it. What a table carries of its slots, and its list of
//! members, follow from them.

use sluice_node_abi::{
    slots,
    values::{Table, mode},
};

use super::Lowered;
use crate::{
    ids::{Freed, Full, Map},
    image::{Entry, Image, Place},
};

/// What a table is to hold.
pub(crate) struct Wanted {
    pub(crate) mode: u32,
    pub(crate) affinity: u32,
    /// What it chooses is counted: it is a split's. Such a table is never just its group.
    pub(crate) counts: bool,
    /// A version and its group each; see [`slots`] for a sticky table's.
    pub(crate) slots: Vec<u32>,
    /// Every backend of these groups, in order; none where callers keep none.
    pub(crate) members: Vec<u32>,
}

/// Where a table's own slots begin, and its own counter.
#[derive(Clone, Copy)]
pub(crate) struct Placed {
    offset: u32,
    counter: u32,
}

impl Placed {
    pub(crate) const fn of(table: Table) -> Self {
        let (offset, _) = table.own_slots();
        Self {
            offset,
            counter: table.own_counter(),
        }
    }
}

impl Wanted {
    /// The only group, if there is one.
    fn only(&self) -> Option<u32> {
        match *self.slots {
            [slot] if !self.counts => Some(slots::group(slot)).filter(|group| *group != 0),
            _ => None,
        }
    }

    /// The groups that it leads to, some more than once.
    pub(crate) fn groups(&self) -> impl Iterator<Item = u32> {
        let versions = match self.mode {
            mode::STICKY => slots::VERSIONS as usize,
            _ => self.slots.len(),
        };
        let groups = self
            .slots
            .iter()
            .take(versions)
            .map(|slot| slots::group(*slot));
        groups.filter(|group| *group != 0)
    }

    /// The slots that are the table's alone: first its schedule, then its members.
    pub(crate) fn own_slots(&self) -> impl Iterator<Item = u32> {
        let schedule: &[u32] = match self.only() {
            Some(_) => &[],
            None => &self.slots,
        };
        schedule.iter().chain(&self.members).copied()
    }

    /// The table at this place, over groups of this image.
    pub(crate) fn row(&self, image: &Image, placed: Placed) -> Table {
        let mut table = Table {
            affinity: self.affinity,
            members: placed.offset,
            member_count: length_of(&self.members),
            ..Table::default()
        };
        if let Some(id) = self.only() {
            let group = image.groups.get(id);
            table.group = id;
            table.mode = group.mode;
            table.offset = group.offset;
            table.length = group.length;
            table.counter = group.counter;
            carry(&mut table, image.group_slots(group));
        } else {
            table.mode = self.mode;
            table.offset = placed.offset;
            table.length = length_of(&self.slots);
            table.counter = placed.counter;
            table.members = table.offset.saturating_add(table.length);
            carry(&mut table, self.slots.iter().copied());
        }
        table
    }
}

fn carry(table: &mut Table, slots: impl Iterator<Item = u32>) {
    for (carried, slot) in table.carried.iter_mut().zip(slots) {
        *carried = slot;
    }
}

fn length_of<T>(slice: &[T]) -> u32 {
    u32::try_from(slice.len()).unwrap_or(u32::MAX)
}

impl Lowered {
    /// Whether the tables from `root` on are these.
    pub(super) fn holds(&self, root: u32, wanted: &[Wanted]) -> bool {
        (root..).zip(wanted).all(|(id, wanted)| {
            let table = self.image.tables.get(id);
            let (offset, length) = table.own_slots();
            let own = self.image.slots.run(offset, length);
            wanted.row(&self.image, Placed::of(table)) == table && own.eq(wanted.own_slots())
        })
    }

    /// Tables in free space, side by side; the first one. Each goes on with its counter if there is one, else it
    /// starts its schedule.
    pub(super) fn new_tables(
        &mut self,
        wanted: &[Wanted],
        counters: &[Option<u32>],
    ) -> Result<u32, Full> {
        let root = self.ids.take(Map::Tables, length_of(wanted))?;
        let ids = || root..root + length_of(wanted);
        for ((id, wanted), counter) in ids().zip(wanted).zip(counters) {
            if let Err(full) = self.new_table(id, wanted, *counter) {
                for made in root..id {
                    self.release_table(made);
                }
                for id in ids().skip_while(|left| *left < id) {
                    self.ids.free(Freed::Table {
                        id,
                        offset: 0,
                        length: 0,
                    });
                }
                return Err(full);
            }
        }
        Ok(root)
    }

    /// A table at this id.
    fn new_table(&mut self, id: u32, wanted: &Wanted, counter: Option<u32>) -> Result<(), Full> {
        let own: Vec<u32> = wanted.own_slots().collect();
        let length = length_of(&own);
        let mut placed = Placed {
            offset: 0,
            counter: 0,
        };
        if length > 0 {
            placed.offset = self.ids.take(Map::Slots, length)?;
        }
        if wanted.counts {
            placed.counter = match counter.filter(|counter| *counter != 0) {
                Some(counter) => counter,
                None => self
                    .ids
                    .take(Map::Counters, slots::COUNTERS)
                    .inspect_err(|_| {
                        let offset = placed.offset;
                        self.ids.free(Freed::Slots { offset, length });
                    })?,
            };
        }
        let table = wanted.row(&self.image, placed);
        table
            .own_counters()
            .for_each(|counter| self.use_counter(counter));
        self.put_table(id, table, own);
        Ok(())
    }

    /// Takes over tables that the maps held before a restart.
    pub(super) fn adopt_tables(&mut self, root: u32, tables: Vec<Table>, wanted: &[Wanted]) {
        for ((id, table), wanted) in (root..).zip(tables).zip(wanted) {
            table
                .own_counters()
                .for_each(|counter| self.use_counter(counter));
            self.put_table(id, table, wanted.own_slots().collect());
        }
    }

    fn put_table(&mut self, id: u32, table: Table, own: Vec<u32>) {
        if !own.is_empty() {
            let (offset, _) = table.own_slots();
            self.put(&Entry::Slots(offset, own.into()));
        }
        self.put(&Entry::Table(id, table));
    }

    pub(super) fn release_table(&mut self, id: u32) {
        let table = self.image.tables.get(id);
        let (offset, length) = table.own_slots();
        self.delete(Place::Table(id));
        if length > 0 {
            self.delete(Place::Slots(offset, length));
        }
        self.ids.free(Freed::Table { id, offset, length });
        table
            .own_counters()
            .for_each(|counter| self.drop_counter(counter));
    }
}
