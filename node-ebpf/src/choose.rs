//! Which backend answers: level 1 picks a version's group, level 2 a backend of it.
//!
//! Pure over [`Tables`], so the kernel, the host's tests and anything that wants to replay a choice
//! run the same code. Both levels count attempts, whatever becomes of them: a schedule is a
//! promise about connects, not about connects that succeeded.

use sluice_node_abi::values::{Backend, Group, Table, mode};

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

/// Asks the table `root`, then its fall-backs.
#[inline(always)]
pub fn choose<T: Tables>(tables: &T, root: u32) -> Result<Choice, Refusal> {
    let mut id = root;
    for _ in 0..TIERS {
        let table = tables.table(id).ok_or(Refusal::Dangling)?;
        let group = pick(
            tables,
            table.mode,
            table.offset,
            table.length,
            table.counter,
        )?;
        if group == 0 {
            return Err(Refusal::Empty);
        }
        match member(tables, group) {
            Err(Refusal::Empty) if table.next != 0 => id = table.next,
            outcome => return outcome,
        }
    }
    Err(Refusal::Empty)
}

#[inline(always)]
fn member<T: Tables>(tables: &T, id: u32) -> Result<Choice, Refusal> {
    let group = tables.group(id).ok_or(Refusal::Dangling)?;
    let backend = match group.mode {
        mode::LEAST_SOCKETS => better_of_two(tables, group)?,
        mode::CONSISTENT if group.length != 0 => {
            let index = spread(tables.client()) % u64::from(group.length);
            slot(tables, group.offset, index)?
        }
        how => pick(tables, how, group.offset, group.length, group.counter)?,
    };
    match tables.backend(backend) {
        Some(row) if row.generation != 0 => Ok(Choice { group: id, backend }),
        _ => Err(Refusal::Dangling),
    }
}

#[inline(always)]
fn better_of_two<T: Tables>(tables: &T, group: &Group) -> Result<u32, Refusal> {
    let any = || pick(tables, mode::RANDOM, group.offset, group.length, 0);
    let (one, other) = (any()?, any()?);
    let fewer = tables.sockets(other) < tables.sockets(one);
    Ok(if fewer { other } else { one })
}

/// Spreads numbers that may be close to each other over all of 64 bits: the last part of splitmix64.
#[inline(always)]
const fn spread(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The content of one slot of the range.
#[inline(always)]
fn pick<T: Tables>(
    tables: &T,
    how: u32,
    offset: u32,
    length: u32,
    counter: u32,
) -> Result<u32, Refusal> {
    if length == 0 {
        return Err(Refusal::Empty);
    }
    let index = match how {
        // A single slot has nothing to walk: it needs no counter and dirties no cache line.
        mode::SEQUENCE if length == 1 => 0,
        mode::SEQUENCE => tables.tick(counter).ok_or(Refusal::Dangling)? % u64::from(length),
        mode::RANDOM => (u64::from(tables.random()) * u64::from(length)) >> 32,
        _ => return Err(Refusal::Dangling),
    };
    slot(tables, offset, index)
}

#[inline(always)]
fn slot<T: Tables>(tables: &T, offset: u32, index: u64) -> Result<u32, Refusal> {
    tables
        .slot(offset.wrapping_add(index as u32))
        .ok_or(Refusal::Dangling)
}
