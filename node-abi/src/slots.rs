//! What stands in the slots of a table, and where a client's number falls.
//!
//! A slot names a version and the group with its backends. A sticky table has first such a slot for each version, and
//! then the version of each of [`STICKY_SLOTS`] places that clients fall on, packed: their number never changes, since
//! that would move everybody.

/// The most versions that a port can have.
pub const VERSIONS: u32 = 16;

/// How many counters a split's table has, side by side: the one that walks its schedule, then one for each version,
/// which counts how often that was chosen.
pub const COUNTERS: u32 = 1 + VERSIONS;

/// How many places a sticky table has for clients: a prime.
pub const STICKY_SLOTS: u32 = 16_381;

/// How many slots a sticky table has.
pub const STICKY_LENGTH: u32 = VERSIONS + STICKY_SLOTS.div_ceil(PER_CELL);

const BITS: u32 = 4;
const PER_CELL: u32 = u32::BITS / BITS;

/// Keeps the place of a client in a table apart from its place in a group.
const SEED: u64 = 0x51ce_5e1e_c7ed_0001;

const GROUP_BITS: u32 = 24;

/// The slot of a version, counted from 0, with this group. Without one it refuses.
pub const fn slot(version: u32, group: u32) -> u32 {
    (version << GROUP_BITS) | group
}

#[inline(always)]
pub const fn group(slot: u32) -> u32 {
    slot & ((1 << GROUP_BITS) - 1)
}

#[inline(always)]
pub const fn version(slot: u32) -> u32 {
    slot >> GROUP_BITS
}

/// The place of a client in a sticky table.
#[inline(always)]
pub const fn place(client: u64) -> u32 {
    (spread(client ^ SEED) % STICKY_SLOTS as u64) as u32
}

/// The slot of a sticky table in which a place is packed.
#[inline(always)]
pub const fn cell_of(place: u32) -> u32 {
    VERSIONS + place / PER_CELL
}

/// The version of a place, out of its cell.
#[inline(always)]
pub const fn unpacked(cell: u32, place: u32) -> u32 {
    (cell >> (place % PER_CELL * BITS)) & (VERSIONS - 1)
}

/// A cell with the version of one of its places added, which had none.
pub const fn packed(cell: u32, place: u32, version: u32) -> u32 {
    cell | (version << (place % PER_CELL * BITS))
}

/// Spreads numbers that may be close to each other over all of 64 bits: the last part of splitmix64.
#[inline(always)]
pub const fn spread(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
