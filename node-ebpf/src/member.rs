//! Does a backend still belong to a table? Asked when a Service has changed since a socket chose.
//!
//! Pure over [`Tables`]. A backend's row alone does not tell: it is shared by all Services that
//! have this address, and outlives its membership in one of them. Every slot has to be looked at,
//! so this is a [`Walk`] of single steps, which the kernel's own loop takes: the verifier looks at one step
//! instead of at thousands.
//!
//! Kernels before 6.7 verify that step as if it ran once, from where the walk begins, and cut off what such a
//! step cannot reach. So a walk begins amid what it read from maps, of which the verifier knows nothing; a
//! constant there would be taken for one at every step.

use crate::choose::Tables;

/// How many steps a walk may take. A backend further on counts as gone, and the socket chooses
/// again.
pub const STEPS: u32 = 8192;

/// On the way through the slots of a table and of its groups, and then its fall-backs.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    backend: u32,
    /// The table to look at when this one is done.
    next: u32,
    group: u32,
    groups_end: u32,
    slot: u32,
    slots_end: u32,
    found: u32,
}

impl Walk {
    /// In search of `backend` through the table `root`. `None` if there is no such table.
    #[inline(always)]
    pub fn new<T: Tables>(tables: &T, root: u32, backend: u32) -> Option<Self> {
        let table = tables.table(root)?;
        let mut walk = Self {
            backend,
            next: table.next,
            group: table.offset,
            groups_end: table.offset.wrapping_add(table.length),
            slot: 0,
            slots_end: 0,
            found: 0,
        };
        if table.length != 0 {
            walk.enter_group(tables);
        }
        Some(walk)
    }

    #[inline(always)]
    pub const fn has_found(&self) -> bool {
        self.found != 0
    }

    /// Looks at one slot or table; whether there is more to look at.
    #[inline(always)]
    pub fn step<T: Tables>(&mut self, tables: &T) -> bool {
        if self.slot != self.slots_end {
            if tables.slot(self.slot) == Some(self.backend) {
                self.found = 1;
                return false;
            }
            self.slot = self.slot.wrapping_add(1);
        } else if self.group != self.groups_end {
            self.enter_group(tables);
        } else {
            let Some(table) = tables.table(self.next).filter(|_| self.next != 0) else {
                return false;
            };
            self.next = table.next;
            self.group = table.offset;
            self.groups_end = table.offset.wrapping_add(table.length);
        }
        true
    }

    #[inline(always)]
    fn enter_group<T: Tables>(&mut self, tables: &T) {
        let id = tables.slot(self.group).unwrap_or_default();
        self.group = self.group.wrapping_add(1);
        if let Some(row) = tables.group(id).filter(|_| id != 0) {
            self.slot = row.offset;
            self.slots_end = row.offset.wrapping_add(row.length);
        }
    }
}
