//! Which backend answers: level 1 picks a version's group, level 2 a backend of it.
//!
//! Pure over [`Tables`], so the kernel, the host's tests and anything that wants to replay a choice
//! run the same code. Both levels count attempts, whatever becomes of them: a schedule is a
//! promise about connects, not about connects that succeeded. A table with one group has one level.

use core::hint::black_box;

use sluice_node_abi::{
    slots::{self, spread},
    values::{Backend, CARRIED, Group, Table, mode},
};

/// How many tables one connect may ask: the first and its fall-backs. A bound for the verifier, and
/// against a ring of `next` links.
pub const TIERS: u32 = 4;

/// Read access to the arrays, and the two sources of change: counters and chance.
pub trait Tables {
    fn table(&self, id: u32) -> Option<&Table>;
    fn group(&self, id: u32) -> Option<&Group>;
    fn backend(&self, id: u32) -> Option<&Backend>;
    fn slot(&self, index: u32) -> Option<u32>;
    /// The counter's value before it was raised by one. Every call gets another value, on any CPU.
    fn tick(&self, counter: u32) -> Option<u64>;
    /// Raises a counter that only people read.
    fn count(&self, counter: u32);
    fn random(&self) -> u32;
    /// A number that is the same for every connect of one client. Nothing is known of its digits.
    fn client(&self) -> u64;
    /// How many sockets that chose this backend are open.
    fn sockets(&self, backend: u32) -> u64;
}

/// A backend, and the group (the version) that it was chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub group: u32,
    pub backend: u32,
}

/// Why there is no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By policy: no version, or the chosen one, has a backend.
    Empty,
    /// A row names a row that is not there. Never happens with a complete image.
    Dangling,
}

/// Slots of which one is picked: a table's or a group's.
#[derive(Clone, Copy)]
struct Range<'a> {
    mode: u32,
    offset: u32,
    length: u32,
    counter: u32,
    /// The first of them, where a table carries them.
    carried: Option<&'a [u32; CARRIED]>,
}

impl<'a> Range<'a> {
    #[inline(always)]
    const fn of_table(table: &'a Table) -> Self {
        Self {
            mode: table.mode,
            offset: table.offset,
            length: table.length,
            counter: table.counter,
            carried: Some(&table.carried),
        }
    }

    #[inline(always)]
    const fn of_group(group: &Group) -> Self {
        Self {
            mode: group.mode,
            offset: group.offset,
            length: group.length,
            counter: group.counter,
            carried: None,
        }
    }
}

/// Asks the table `root`, then its fall-backs.
#[inline(always)]
pub fn choose<T: Tables>(tables: &T, root: u32) -> Result<Choice, Refusal> {
    let mut id = root;
    for _ in 0..TIERS {
        let table = tables.table(id).ok_or(Refusal::Dangling)?;
        let mut group = table.group;
        let mut range = Range::of_table(table);
        if group == 0 {
            let slot = version(tables, &range)?;
            if range.counter != 0 {
                tables.count(range.counter.wrapping_add(1 + slots::version(slot)));
            }
            group = slots::group(slot);
            if group == 0 {
                return Err(Refusal::Empty);
            }
            range = Range::of_group(tables.group(group).ok_or(Refusal::Dangling)?);
        }
        match member(tables, &range) {
            Ok(backend) => return Ok(Choice { group, backend }),
            Err(Refusal::Empty) if table.next != 0 => id = table.next,
            Err(refusal) => return Err(refusal),
        }
    }
    Err(Refusal::Empty)
}

/// The slot of a version.
#[inline(always)]
fn version<T: Tables>(tables: &T, range: &Range<'_>) -> Result<u32, Refusal> {
    if range.mode != mode::STICKY {
        return pick(tables, range, range.mode);
    }
    match sticky_slot(tables, range.offset) {
        NO_SLOT => Err(Refusal::Dangling),
        slot => Ok(slot as u32),
    }
}

const NO_SLOT: u64 = u64::MAX;

/// The slot of the client's version in a sticky table. A function of its own: woven into the rest, the compiler lets
/// numbers and pointers share a register, which the verifier does not take.
#[inline(never)]
fn sticky_slot<T: Tables>(tables: &T, offset: u32) -> u64 {
    let place = slots::place(tables.client());
    let Some(cell) = tables.slot(offset.wrapping_add(slots::cell_of(place))) else {
        return NO_SLOT;
    };
    let version = slots::unpacked(cell, place);
    tables
        .slot(offset.wrapping_add(version))
        .map_or(NO_SLOT, u64::from)
}

#[inline(always)]
fn member<T: Tables>(tables: &T, range: &Range<'_>) -> Result<u32, Refusal> {
    let backend = match range.mode {
        mode::LEAST_SOCKETS => better_of_two(tables, range)?,
        mode::CONSISTENT if range.length != 0 => {
            let index = spread(tables.client()) % u64::from(range.length);
            slot(tables, range, index)?
        }
        how => pick(tables, range, how)?,
    };
    match tables.backend(backend) {
        Some(row) if row.generation != 0 => Ok(backend),
        _ => Err(Refusal::Dangling),
    }
}

#[inline(always)]
fn better_of_two<T: Tables>(tables: &T, range: &Range<'_>) -> Result<u32, Refusal> {
    let any = || pick(tables, range, mode::RANDOM);
    let (one, other) = (any()?, any()?);
    let fewer = tables.sockets(other) < tables.sockets(one);
    Ok(if fewer { other } else { one })
}

/// The content of one slot of the range.
#[inline(always)]
fn pick<T: Tables>(tables: &T, range: &Range<'_>, how: u32) -> Result<u32, Refusal> {
    let length = u64::from(range.length);
    if length == 0 {
        return Err(Refusal::Empty);
    }
    let index = match how {
        // A single slot has nothing to walk: it needs no counter and dirties no cache line.
        mode::SEQUENCE if length == 1 => 0,
        mode::SEQUENCE => tables.tick(range.counter).ok_or(Refusal::Dangling)? % length,
        mode::RANDOM => (u64::from(tables.random()) * length) >> 32,
        _ => return Err(Refusal::Dangling),
    };
    slot(tables, range, index)
}

#[inline(always)]
fn slot<T: Tables>(tables: &T, range: &Range<'_>, index: u64) -> Result<u32, Refusal> {
    // Opaque, so that what is compared with the bound is what is added to the address: the verifier does not see
    // that two numbers have to do with each other.
    let index = black_box(index);
    let carried = range.carried.and_then(|slots| slots.get(index as usize));
    match carried {
        Some(content) => Ok(*content),
        None => tables
            .slot(range.offset.wrapping_add(index as u32))
            .ok_or(Refusal::Dangling),
    }
}
