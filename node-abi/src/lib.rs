//! The bytes that kernel programs and user space share: map names, keys, values, verdicts.
//!
//! Everything here is a plain `repr(C)` struct without padding (zerocopy's derives refuse to
//! compile otherwise). Addresses and ports are byte arrays in network order, so that a key is
//! what a socket call carries; indexes and generations are integers in the machine's order.
//!
//! Two conventions hold in every map:
//! - IPv4 addresses are v4-mapped IPv6 addresses, so both families share maps and code.
//! - **Zero means none.** Entry 0 of `PORTS`, `TABLES`, `GROUPS`, `BACKENDS` and `COUNTERS` is never
//!   given out, so a map that holds nothing is all zero and a dangling reference reads as "none".

#![no_std]

pub mod client;
pub mod datagrams;
pub mod keys;
pub mod maps;
pub mod slots;
pub mod survey;
pub mod tally;
pub mod values;
pub mod verdict;

/// Version of every map layout but the socket storage. Maps are pinned in a folder that carries
/// it; an agent of another version builds its own maps beside these.
pub const VERSION: u32 = 6;

/// Version of the socket storage alone. Sockets outlive agents and their storage cannot be moved to
/// another map, so this layout is frozen by itself.
pub const SOCKET_VERSION: u32 = 2;
