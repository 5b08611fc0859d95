//! What callers connect to: a Service, or an address that was granted.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    pattern::SERVICE,
    port::{AddressPort, MAX_PORTS, MAX_SERVICE_PORTS},
};

/// What is said of a frontend of both kinds, or of none.
pub const ONE_FRONTEND: &str = "a frontend has either `service` or `address`";
/// What is said of text that is no address.
pub const ADDRESS: &str =
    "an IPv4 or IPv6 address, without zone and leading zeros; 10.0.0.1, not ::ffff:10.0.0.1";
/// What is said of an address that nobody may take.
pub const ADDRESS_RESERVED: &str =
    "loopback, unspecified, multicast and broadcast addresses are never a frontend";
/// What is said of two ports with one number.
pub const PORTS_DIFFER: &str = "two ports have the same number and protocol";

pub(crate) const ADDRESS_RULE: &str = "isIP(self)";
const ADDRESS_RESERVED_RULE: &str =
    "!isIP(self) || ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast()";
const PORTS_DIFFER_RULE: &str = "self.all(p, self.exists_one(q, q.port == p.port && (has(q.protocol) && q.protocol == 'UDP') == (has(p.protocol) && p.protocol == 'UDP')))";

/// What callers connect to. The policy decides about these connections, and no other policy does.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.service) != has(self.address)").message(ONE_FRONTEND))]
pub struct Frontend {
    /// A Service of the policy's own namespace, which has a cluster IP. What users wrote into its `externalIPs` is
    /// not meant: such an address takes a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ServiceFrontend")]
    pub service: Option<ServiceFrontend>,

    /// An address. It needs a FrontendGrant for the policy's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AddressFrontend")]
    pub address: Option<AddressFrontend>,
}

/// A Service that callers connect to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFrontend {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = SERVICE))]
    pub name: String,

    /// The Service's ports that are meant, by name or by number. All of them when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_SERVICE_PORTS),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub ports: Vec<String>,
}

/// An address that callers connect to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressFrontend {
    /// The address. Never one of a node, of a Service of another namespace or of the API server, grant or not.
    #[schemars(length(min = 1, max = 45))]
    #[x_kube(
        validation = Rule::new(ADDRESS_RULE).message(ADDRESS),
        validation = Rule::new(ADDRESS_RESERVED_RULE).message(ADDRESS_RESERVED)
    )]
    pub ip: String,

    /// The ports, keyed by name.
    #[schemars(
        length(min = 1, max = MAX_PORTS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    #[x_kube(validation = Rule::new(PORTS_DIFFER_RULE).message(PORTS_DIFFER))]
    pub ports: Vec<AddressPort>,
}
