//! Names, default capacities and fixed indexes of the maps.

/// Names, as pinned.
pub const FRONTENDS: &str = "FRONTENDS";
pub const NODES: &str = "NODES";
pub const PORTS: &str = "PORTS";
pub const TABLES: &str = "TABLES";
pub const SLOTS: &str = "SLOTS";
pub const GROUPS: &str = "GROUPS";
pub const BACKENDS: &str = "BACKENDS";
pub const COUNTERS: &str = "COUNTERS";
pub const AFFINITY: &str = "AFFINITY";
pub const CALLERS: &str = "CALLERS";
pub const CLASSES: &str = "CLASSES";
pub const SETTINGS: &str = "SETTINGS";
pub const SOCKETS: &str = "SOCKETS";
pub const DATAGRAMS: &str = "DATAGRAMS";
pub const SURVEY: &str = "SURVEY";
pub const TALLIES: &str = "TALLIES";
pub const VERDICTS: &str = "VERDICTS";

/// Capacities that a map has unless the agent is told otherwise.
pub mod capacity {
    pub const FRONTENDS: u32 = 131_072;
    pub const NODES: u32 = 16_384;
    pub const PORTS: u32 = 131_072;
    pub const TABLES: u32 = 131_072;
    pub const SLOTS: u32 = 2_097_152;
    pub const GROUPS: u32 = 131_072;
    pub const BACKENDS: u32 = 262_144;
    pub const COUNTERS: u32 = 262_144;
    pub const AFFINITY: u32 = 65_536;
    pub const CALLERS: u32 = 4_096;
    /// What a change replaces stays for a moment beside what it brings, so half of them can be in use.
    pub const CLASSES: u32 = 131_072;
}

/// Indexes of `SETTINGS`, an array of u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Setting {
    /// Not 0: the programs leave every connect alone.
    Off = 0,
    /// The highest generation that was ever issued to a port or a backend.
    Generation = 1,
    /// The cookie of the host's network namespace, where ports of every node answer on loopback too. 0:
    /// nowhere.
    HostNetwork = 2,
    /// The levels of the tree of cgroups at which `CALLERS` has pods: one in each byte, ended by 0.
    CallerLevels = 3,
}

impl Setting {
    pub const COUNT: u32 = 4;
}
