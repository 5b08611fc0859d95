//! A group of backends: pods of the cluster, or addresses anywhere.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::{
    absent::is_default,
    frontend::{ADDRESS, ADDRESS_RULE},
    pattern::{LABEL, LABEL_KEYS, LABEL_KEYS_RULE, LABEL_VALUE},
    port::{BackendPort, MAX_PORTS},
    selector::MAX_LABELS,
    split::MAX_WEIGHT,
};

/// The largest number of addresses in one group, and in all of a policy together.
pub const MAX_ADDRESSES: usize = 256;
/// The last tier.
pub const MAX_PRIORITY: u8 = 15;

/// What is said of a group of both kinds, or of none.
pub const ONE_GROUP_SOURCE: &str = "a group has either `pods` or `addresses`";
/// What is said of a check of pods.
pub const CHECKED_ADDRESSES: &str =
    "only a group with `addresses` has a `check`: of pods Kubernetes says whether they are ready";
/// What is said of an address that is no backend.
pub const BACKEND_ADDRESS_RESERVED: &str = "loopback, link-local, unspecified, multicast and broadcast addresses, and \
     those of clouds' metadata services, are never a backend";
/// Where clouds tell a machine who it is, and hand out what it may do, beside the link-local addresses.
pub const METADATA: [&str; 3] = ["100.100.100.200", "168.63.129.16", "fd00:ec2::254"];

const BACKEND_ADDRESS_RESERVED_RULE: &str = "!isIP(self) || ip(self).isGlobalUnicast() \
    && !['100.100.100.200', '168.63.129.16', 'fd00:ec2::254'].exists(m, ip(m) == ip(self))";

/// A named group of backends.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.pods) != has(self.addresses)").message(ONE_GROUP_SOURCE),
    validation = Rule::new("!has(self.check) || has(self.addresses)").message(CHECKED_ADDRESSES)
)]
pub struct Group {
    /// Name of the group, unique in the policy.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// The group's weight in relation to the other groups of its tier, however many backends it has.
    #[schemars(range(max = MAX_WEIGHT))]
    pub weight: u32,

    /// The group's tier. Connections go to the lowest tier that has a usable backend. 0 when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(max = MAX_PRIORITY))]
    pub priority: u8,

    /// Pods of the policy's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "GroupPods")]
    pub pods: Option<GroupPods>,

    /// Addresses, in the cluster or out of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Vec<Address>",
        length(min = 1, max = MAX_ADDRESSES),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["ip", "port"])
    )]
    pub addresses: Option<Vec<Address>>,

    /// How each node finds out which of the addresses are usable. All of them count as usable when left out.
    /// The node asks from its own network, where no NetworkPolicy of pods holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Check")]
    pub check: Option<Check>,
}

/// Pods as backends.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupPods {
    /// Labels of the pods, all of them.
    #[schemars(extend(
        "minProperties" = 1,
        "maxProperties" = MAX_LABELS,
        "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
    ))]
    #[x_kube(validation = Rule::new(LABEL_KEYS_RULE).message(LABEL_KEYS))]
    pub match_labels: BTreeMap<String, String>,

    /// The way to a pod. PodIP: its own address. HostPort: its node's address, at the port that the
    /// pod has there. NodeEntry: the address in its node's annotation `sluice.dev/entry-address`,
    /// else its node's internal address. PodIP when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub via: Via,

    /// Where each port of the frontend is found on these pods, keyed by the frontend's port.
    #[schemars(
        length(min = 1, max = MAX_PORTS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub ports: Vec<BackendPort>,
}

/// The way to a pod.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Via {
    /// By its own address.
    #[default]
    PodIP,
    /// By its node's address and the port that it has there.
    HostPort,
    /// By the address at which its node takes connections from elsewhere.
    NodeEntry,
}

/// One backend by address.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address. Never one of a node, of a Service or of the API server.
    #[schemars(length(min = 1, max = 45))]
    #[x_kube(
        validation = Rule::new(ADDRESS_RULE).message(ADDRESS),
        validation = Rule::new(BACKEND_ADDRESS_RESERVED_RULE).message(BACKEND_ADDRESS_RESERVED)
    )]
    pub ip: String,

    /// The port that every port of the frontend leads to.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,

    /// The address' weight in relation to the others of the group. 1 when left out.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(max = MAX_WEIGHT))]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

fn is_one(weight: &u32) -> bool {
    *weight == one()
}
