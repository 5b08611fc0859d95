//! Values of the maps.
//!
//! A connect reads `FRONTENDS` → `PORTS` → `TABLES` → `SLOTS` → `GROUPS` → `SLOTS` → `BACKENDS`. A row
//! that a connect waits for costs more than all that is done with it, so a table carries what it can of the
//! next ones: of a plain Service's it goes `FRONTENDS` → `PORTS` → `TABLES` → `BACKENDS`.
//! All that a port reaches is written into free space first; then its `PORTS` word is swapped.

use core::ops::{Range, RangeInclusive};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::{keys::Address, slots};

/// Value of `FRONTENDS`: the port that answers at this address. One port id per Service port,
/// protocol and family.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Frontend {
    pub port: u32,
    /// See [`frontend`].
    pub flags: u32,
}

/// Flags of a [`Frontend`].
pub mod frontend {
    /// A port of every node that answers at this node's own addresses only: what comes to another
    /// node's is that node's to decide.
    pub const OWN_NODE: u32 = 1;
}

/// Value of `PORTS`, **one aligned u64** that is swapped in one store: the port's first table in
/// the low half, the generation of that choice in the high half. The first table is everybody's; those of the classes of
/// callers follow. How many there are stands in the low half's upper bits, and who is in which, in `CLASSES`.
///
/// Generations are issued by one counter for ports and backends together ([`Setting::Generation`]),
/// so a reused id never carries a number it had before. 0 means that the port is not there.
///
/// [`Setting::Generation`]: crate::maps::Setting::Generation
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Port(pub u64);

/// Of a [`Port`]'s low half: enough for the most tables that an agent can be told to have room for.
const ROOT_BITS: u32 = 26;

impl Port {
    pub const fn new(root: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | root as u64)
    }

    /// The same, with so many tables for classes of callers.
    #[must_use]
    pub const fn with_classes(self, classes: u32) -> Self {
        Self(self.0 | (classes << ROOT_BITS) as u64)
    }

    #[inline(always)]
    pub const fn classes(self) -> u32 {
        self.0 as u32 >> ROOT_BITS
    }

    #[inline(always)]
    pub const fn root(self) -> u32 {
        self.0 as u32 & ((1 << ROOT_BITS) - 1)
    }

    /// Every table that it leads to.
    pub fn tables(self) -> RangeInclusive<u32> {
        self.root()..=self.root() + self.classes()
    }

    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// How a table or a group picks one of its slots. 0 stands for an empty entry.
pub mod mode {
    /// Walk the slots in order by the entry's own counter: the split's schedule in a table, round
    /// robin in a group.
    pub const SEQUENCE: u32 = 1;
    /// Any slot, uniformly.
    pub const RANDOM: u32 = 2;
    /// Groups only: the better of two slots, by the sockets that are open to their backends.
    pub const LEAST_SOCKETS: u32 = 3;
    /// Groups only: the slot that the client's number falls on. Its slots are many, and few of them
    /// change their backend when one comes or goes.
    pub const CONSISTENT: u32 = 4;
    /// Tables only: the version of the place that the client's number falls on. See [`slots`](crate::slots).
    pub const STICKY: u32 = 5;
}

/// How many slots a table carries itself.
pub const CARRIED: usize = 7;

/// Value of `TABLES`, level 1: which version. Its slots hold versions with their groups, see
/// [`slots`]. One cache line.
///
/// A table with a single group *is* that group: it has no slots of its own, and `mode`, `offset`, `length` and
/// `counter` are the group's.
///
/// A table whose schedule is rewritten unchanged (a pod came or went) keeps its counter, so that
/// churn does not restart the schedule; new weights start a new counter at 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Table {
    pub mode: u32,
    /// First slot in `SLOTS`.
    pub offset: u32,
    pub length: u32,
    /// Index in `COUNTERS` of a split's own ones; see [`slots::COUNTERS`].
    pub counter: u32,
    /// The only group, if there is one; else 0.
    pub group: u32,
    /// The table to ask when the chosen group has no usable backend: a fall-back or failover tier.
    /// 0 refuses.
    pub next: u32,
    /// For how many seconds after its last connect a client gets the same backend again; 0 for no
    /// such thing.
    pub affinity: u32,
    /// Where in `SLOTS` every backend stands that the table can choose, in ascending order and each once. Of a
    /// table whose callers never keep a backend there are none.
    pub members: u32,
    pub member_count: u32,
    /// The first slots once more.
    pub carried: [u32; CARRIED],
}

impl Table {
    /// The run of slots that is this table's alone: offset and length. The members come last.
    pub const fn own_slots(&self) -> (u32, u32) {
        if self.group == 0 {
            (self.offset, self.length.saturating_add(self.member_count))
        } else {
            (self.members, self.member_count)
        }
    }

    /// The first counter that is this table's alone; 0 if it has none.
    pub const fn own_counter(&self) -> u32 {
        if self.group == 0 { self.counter } else { 0 }
    }

    /// All counters that are this table's alone.
    pub const fn own_counters(&self) -> Range<u32> {
        match self.own_counter() {
            0 => 0..0,
            first => first..first.saturating_add(slots::COUNTERS),
        }
    }
}

/// Value of `GROUPS`, level 2: the backends of one version or of a plain Service. Its slots hold
/// backend ids.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Group {
    pub mode: u32,
    pub offset: u32,
    pub length: u32,
    pub counter: u32,
}

/// One address that can serve. Shared by all groups that contain it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Backend {
    pub address: Address,
    pub port: [u8; 2],
    pub protocol: u8,
    /// Always 0.
    pub reserved: u8,
    /// Never 0 for a backend that is there; another one each time the id is given out.
    pub generation: u32,
}

/// Value of `BACKENDS`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BackendRow {
    pub backend: Backend,
    /// Sockets that chose this backend and are still open; written by the kernel.
    pub sockets: u64,
}

/// Value of `NODES`, by address: what a port of every node may answer at.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct NodeAddress {
    /// See [`node`].
    pub flags: u32,
}

/// Flags of a [`NodeAddress`].
pub mod node {
    /// The address is of the node that the programs run on.
    pub const OWN: u32 = 1;
}

/// Value of `CALLERS`, by the id of the pod's own cgroup: a pod that is no ordinary caller, or that
/// its network does not tell from others. A pod that is not listed is an ordinary one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Caller {
    /// See [`caller`].
    pub flags: u32,
}

/// Flags of a [`Caller`].
pub mod caller {
    /// Its connects are left alone.
    pub const OPTED_OUT: u32 = 1;
}

/// Value of `CLASSES`: the table that serves the pod, in the low half. The high half repeats the key's root: a row that
/// goes while a program reads it may become another port's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Class(pub u64);

impl Class {
    pub const fn new(root: u32, table: u32) -> Self {
        Self(((root as u64) << 32) | table as u64)
    }

    pub const fn table(self) -> u32 {
        self.0 as u32
    }

    pub const fn root(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Value of `AFFINITY`, the backend that a client had last; written by the kernel. Good while it is
/// recent and the port still has the backend.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Affinity {
    pub backend: u32,
    pub backend_generation: u32,
    /// 0 when the port has changed since the backend was chosen.
    pub group: u32,
    /// Generation of the `PORTS` word by which the backend was last known to be the port's.
    pub port_generation: u32,
    /// When the client connected last: boot-time clock, nanoseconds.
    pub last: u64,
}

/// Value of `SOCKETS`, the storage in each translated socket. Frozen: see
/// [`SOCKET_VERSION`](crate::SOCKET_VERSION).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Socket {
    /// Where the application meant to connect.
    pub address: Address,
    pub port: [u8; 2],
    pub protocol: u8,
    /// Set while `sockets` of the backend counts this socket.
    pub counted: u8,
    pub port_id: u32,
    pub group: u32,
    pub backend: u32,
    pub backend_generation: u32,
    /// Generation of the `PORTS` word that this choice was made by.
    pub port_generation: u32,
    /// Where the socket was sent instead. Kept here because the backend's row may be another's by the
    /// time somebody asks.
    pub backend_address: Address,
    pub backend_port: [u8; 2],
    /// Always 0.
    pub reserved: [u8; 6],
    /// Boot-time clock, nanoseconds.
    pub since: u64,
}

impl Socket {
    /// Whether this is where the socket was sent instead. By words: nothing compares bytes in the kernel.
    #[inline(always)]
    pub fn is_from(&self, address: &Address, port: [u8; 2]) -> bool {
        let (mine, other): ([u32; 4], [u32; 4]) =
            (transmute!(self.backend_address), transmute!(*address));
        mine == other && self.backend_port == port
    }
}
