//! Ports: of an address that callers use, and of the backends behind it.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{absent::is_default, pattern::LABEL};

/// The largest number of ports of a Service that can be listed.
pub const MAX_SERVICE_PORTS: usize = 100;
/// The largest number of ports of an address, or of a group of backends.
pub const MAX_PORTS: usize = 32;

/// A port that callers connect to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPort {
    /// Name of the port, unique in the list. Ports of backends are matched with it.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// Number of the port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,

    /// TCP or UDP. TCP when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
}

/// Where a port of the frontend is found on a backend.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendPort {
    /// The port of the frontend that leads here: its name, or its number if it has none.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// The number that the backend listens on.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
}

/// What is spoken at a port.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Protocol {
    #[default]
    TCP,
    UDP,
}
