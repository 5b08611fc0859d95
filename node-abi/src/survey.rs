//! What a survey of sockets tells of each: a record of the ring buffer `SURVEY`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::values::Socket;

/// A socket and what is kept in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Surveyed {
    /// The kernel's name of the socket, as socket diagnosis says it.
    pub cookie: u64,
    pub state: Socket,
}
