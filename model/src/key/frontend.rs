//! What callers connect to, and what it is in the kernel's maps.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    ops::RangeInclusive,
};

use serde::{Serialize, Serializer};
use sluice_node_abi::keys;

use super::{Port, Protocol};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Family {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address with a port and a protocol: what callers connect to. The unspecified address stands
/// for every address of every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    pub ip: IpAddr,
    pub port: Port,
    pub protocol: Protocol,
}

impl Frontend {
    /// A port of every node.
    pub const fn on_every_node(family: Family, port: Port, protocol: Protocol) -> Self {
        let ip = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { ip, port, protocol }
    }

    /// From the first to the last that there can be at one address.
    pub const fn all_at(ip: IpAddr) -> RangeInclusive<Self> {
        let first = Self {
            ip,
            port: Port(NonZeroU16::MIN),
            protocol: Protocol::Tcp,
        };
        let last = Self {
            ip,
            port: Port(NonZeroU16::MAX),
            protocol: Protocol::Udp,
        };
        RangeInclusive::new(first, last)
    }

    pub const fn is_on_every_node(&self) -> bool {
        self.ip.is_unspecified()
    }

    /// `None` for a key that no frontend of ours has.
    pub fn of_key(key: &keys::FrontendKey) -> Option<Self> {
        Some(Self {
            ip: keys::ip(key.address),
            port: Port::new(u16::from_be_bytes(key.port))?,
            protocol: Protocol::from_number(key.protocol)?,
        })
    }

    pub fn key(self) -> keys::FrontendKey {
        keys::FrontendKey {
            address: keys::address(self.ip),
            port: self.port.get().to_be_bytes(),
            protocol: self.protocol.number(),
            scope: if self.is_on_every_node() {
                keys::SCOPE_NODES
            } else {
                keys::SCOPE_ANY
            },
        }
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = SocketAddr::new(self.ip, self.port.get());
        write!(f, "{address}/{}", self.protocol)
    }
}

impl fmt::Debug for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Frontend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
