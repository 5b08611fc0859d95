//! Does a backend still belong to a table? Asked when a Service has changed since a socket or a client chose.
//!
//! Pure over [`Tables`]. A backend's row alone does not tell: it is shared by all Services that
//! have this address, and outlives its membership in one of them. So a table whose callers keep
//! backends lists all that it can choose, in order, and the list is searched by halves. The kernel's own loop
//! takes the steps of a [`Search`]: the verifier looks at one step instead of at all ways through them.
//!
//! Kernels before 6.7 verify that step as if it ran once, from where the search begins, and cut off what such a
//! step cannot reach. So a search begins amid what it read from maps, of which the verifier knows nothing; a
//! constant there would be taken for one at every step.

use crate::choose::{TIERS, Tables};

/// How many steps a search can take: lists are no longer than `SLOTS`, and one step leads to the next table.
pub const STEPS: u32 = TIERS * 26;

/// On the way to one place in the list of a table, and then its fall-backs.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    backend: u32,
    /// The table to look at when this one is done.
    next: u32,
    /// Where the backend can still be: from here on, and before there.
    start: u32,
    end: u32,
    found: u32,
}

impl Search {
    /// For `backend`, in the table `root`. `None` if there is no such table.
    #[inline(always)]
    pub fn new<T: Tables>(tables: &T, root: u32, backend: u32) -> Option<Self> {
        let table = tables.table(root)?;
        Some(Self {
            backend,
            next: table.next,
            start: table.members,
            end: table.members.wrapping_add(table.member_count),
            found: 0,
        })
    }

    #[inline(always)]
    pub const fn has_found(&self) -> bool {
        self.found != 0
    }

    /// Looks at one member or table; whether there is more to look at.
    #[inline(always)]
    pub fn step<T: Tables>(&mut self, tables: &T) -> bool {
        if self.start != self.end {
            let middle = self
                .start
                .wrapping_add(self.end.wrapping_sub(self.start) / 2);
            let member = tables.slot(middle).unwrap_or(u32::MAX);
            if member == self.backend {
                self.found = 1;
                return false;
            }
            if member < self.backend {
                self.start = middle.wrapping_add(1);
            } else {
                self.end = middle;
            }
        } else {
            let Some(table) = tables.table(self.next).filter(|_| self.next != 0) else {
                return false;
            };
            self.next = table.next;
            self.start = table.members;
            self.end = table.members.wrapping_add(table.member_count);
        }
        true
    }
}

/// The whole search, where nothing has to be verified.
#[cfg(not(target_arch = "bpf"))]
pub fn holds<T: Tables>(tables: &T, root: u32, backend: u32) -> bool {
    let Some(mut search) = Search::new(tables, root, backend) else {
        return false;
    };
    for _ in 0..STEPS {
        if !search.step(tables) {
            break;
        }
    }
    search.has_found()
}
