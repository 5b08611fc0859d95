//! Value of `DATAGRAMS`, the storage in each socket that sends datagrams to frontends without being
//! connected to them. Frozen: see [`SOCKET_VERSION`](crate::SOCKET_VERSION).
//!
//! One socket may ask several Services at once and tell their answers apart by the source, so it
//! remembers several. A pair that stopped being good for sending stays until it is the oldest: an answer to
//! what was sent before may still come.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::keys::{Address, FrontendKey};

/// How many pairs a socket remembers.
pub const PAIRS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Datagrams {
    pub pairs: [Pair; PAIRS],
}

/// A frontend that the socket sent to, and the backend that its datagrams went to. All zero: free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Pair {
    pub front: FrontendKey,
    pub backend_address: Address,
    pub backend_port: [u8; 2],
    /// Always 0.
    pub reserved: [u8; 2],
    pub port_id: u32,
    /// Generation of the `PORTS` word that was last seen to lead to this backend.
    pub port_generation: u32,
    pub backend: u32,
    pub backend_generation: u32,
    /// When the socket last sent by it: boot-time clock, nanoseconds. 0 where there is no pair, or none any more.
    pub last: u64,
}

impl Pair {
    /// Whether the application sent to this address. By words: nothing compares bytes in the kernel.
    #[inline(always)]
    pub fn is_to(&self, front: &FrontendKey) -> bool {
        let (mine, other): ([u32; 5], [u32; 5]) = (transmute!(self.front), transmute!(*front));
        mine == other
    }

    /// Whether answers from this address belong to it.
    #[inline(always)]
    pub fn is_from(&self, address: &Address, port: [u8; 2]) -> bool {
        let (mine, other): ([u32; 4], [u32; 4]) =
            (transmute!(self.backend_address), transmute!(*address));
        mine == other && self.backend_port == port
    }
}
