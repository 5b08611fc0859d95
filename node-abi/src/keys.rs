//! Keys of the hash maps.

use core::net::{IpAddr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// IANA protocol numbers, as sockets and Services name them.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// The key's address is the frontend's.
pub const SCOPE_ANY: u8 = 0;

/// A port of every node: the key's address is the unspecified one of its family, and `NODES` says which
/// addresses it stands for. One row serves any number of nodes.
pub const SCOPE_NODES: u8 = 1;

/// An IPv6 address in network order; IPv4 is v4-mapped.
pub type Address = [u8; 16];

/// Key of `FRONTENDS`: an address that callers connect to.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct FrontendKey {
    pub address: Address,
    pub port: [u8; 2],
    pub protocol: u8,
    pub scope: u8,
}

/// Key of `AFFINITY`: a client, as a port sees it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AffinityKey {
    /// The same for all connects of one pod, or of the host.
    pub client: u64,
    pub port: u32,
    /// The class of callers that it is in, counted from 1; 0 for none.
    pub class: u32,
}

/// Key of `CLASSES`: a pod, as the tables of one port see it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct ClassKey {
    /// The port's first table.
    pub root: u32,
    /// Always 0.
    pub reserved: u32,
    /// The id of the pod's own cgroup.
    pub cgroup: u64,
}

/// The form in which every map holds an address.
pub const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address as people write it: a v4-mapped one is IPv4.
pub const fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from_octets(address).to_canonical()
}
