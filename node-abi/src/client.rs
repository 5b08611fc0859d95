//! The number that a client is known by: for affinity, for consistent balancing, and for its place in a sticky table.
//!
//! A pod's is the cookie of its network. In the host's network a pod that the agent has told of has one of its own, and all
//! other processes are one client.

/// All processes in the host's network that are no pod's.
pub const HOST: u64 = 0;

/// A pod in the host's network, by the id of its cgroup. Cookies of networks are far smaller numbers.
pub const fn of_pod(cgroup: u64) -> u64 {
    cgroup | 1 << 63
}
