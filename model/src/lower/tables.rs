//! Tables: one per port and class, never shared, never rewritten in place.

use sluice_node_abi::values::{Table, mode};

use super::Lowered;
use crate::{
    ids::{Freed, Full, Map},
    image::{Entry, Place},
};

/// What a table is to hold.
pub(crate) struct Wanted<'a> {
    pub(crate) mode: u32,
    pub(crate) affinity: u32,
    pub(crate) slots: &'a [u32],
}

impl Wanted<'_> {
    /// Whether a table is like this, its slots apart.
    pub(crate) fn is(&self, table: Table) -> bool {
        (table.mode, table.affinity, table.next) == (self.mode, self.affinity, 0)
    }
}

impl Lowered {
    /// A table in free space. It goes on with `counter` if there is one, else starts its schedule.
    /// A schedule of one slot needs no counter.
    pub(super) fn new_table(
        &mut self,
        wanted: &Wanted<'_>,
        counter: Option<u32>,
    ) -> Result<u32, Full> {
        let Wanted {
            mode,
            affinity,
            slots,
        } = *wanted;
        let length = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let id = self.ids.take(Map::Tables, 1)?;
        let offset = match self.ids.take(Map::Slots, length) {
            Ok(offset) => offset,
            Err(full) => {
                self.ids.free(Freed::Table {
                    id,
                    offset: 0,
                    length: 0,
                });
                return Err(full);
            }
        };
        let counter = if mode != mode::SEQUENCE || length == 1 {
            0
        } else if let Some(counter) = counter.filter(|counter| *counter != 0) {
            self.use_counter(counter);
            counter
        } else {
            match self.new_counter() {
                Ok(counter) => counter,
                Err(full) => {
                    self.ids.free(Freed::Table { id, offset, length });
                    return Err(full);
                }
            }
        };
        let table = Table {
            mode,
            offset,
            length,
            counter,
            next: 0,
            affinity,
        };
        self.put(&Entry::Slots(offset, slots.into()));
        self.put(&Entry::Table(id, table));
        Ok(id)
    }

    /// Takes over a table that the maps held before a restart.
    pub(super) fn adopt_table(&mut self, id: u32, table: Table, slots: &[u32]) {
        if table.counter != 0 {
            self.use_counter(table.counter);
        }
        self.put(&Entry::Slots(table.offset, slots.into()));
        self.put(&Entry::Table(id, table));
    }

    pub(super) fn release_table(&mut self, id: u32) {
        let Table {
            mode: _,
            offset,
            length,
            counter,
            next: _,
            affinity: _,
        } = self.image.tables.get(id);
        self.delete(Place::Table(id));
        self.delete(Place::Slots(offset, length));
        self.ids.free(Freed::Table { id, offset, length });
        self.drop_counter(counter);
    }
}
