//! Who connects.

/// A caller, as far as callers are told apart. The default is an ordinary pod of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// It is in the host's network namespace, where the ports of every node answer on loopback too.
    pub in_host_network: bool,
    /// The id of its pod's own cgroup.
    pub cgroup: Option<u64>,
}

impl Caller {
    /// A process of the host that belongs to no pod.
    pub const HOST: Self = Self {
        in_host_network: true,
        cgroup: None,
    };
}
