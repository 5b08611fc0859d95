//! How much the maps hold: a few numbers that a person chooses, and the capacity of each map that follows.
//!
//! A map keeps the capacity that it was made with. When other numbers are asked for, all maps are made anew
//! beside the old ones, as after a version with another layout.

use clap::Args as Group;
use sluice_node_abi::maps::{self, capacity};

/// What a node is laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Group)]
pub struct Sizes {
    /// How many addresses Services may have; an address is an IP with a port and a protocol.
    #[arg(
        long,
        env = "SLUICE_MAX_FRONTENDS",
        value_name = "NUMBER",
        default_value_t = capacity::FRONTENDS,
        value_parser = clap::value_parser!(u32).range(LEAST..=MOST)
    )]
    pub max_frontends: u32,

    /// How many endpoints Services may have; an endpoint is an IP with a port and a protocol.
    #[arg(
        long,
        env = "SLUICE_MAX_BACKENDS",
        value_name = "NUMBER",
        default_value_t = capacity::BACKENDS,
        value_parser = clap::value_parser!(u32).range(LEAST..=MOST)
    )]
    pub max_backends: u32,

    /// How many clients of Services with session affinity are remembered, each once per Service port.
    #[arg(
        long,
        env = "SLUICE_MAX_AFFINITIES",
        value_name = "NUMBER",
        default_value_t = capacity::AFFINITY,
        value_parser = clap::value_parser!(u32).range(LEAST..=MOST)
    )]
    pub max_affinities: u32,
}

const LEAST: i64 = 1_024;
const MOST: i64 = 2_097_152;

const SLOTS_PER_BACKEND: u32 = capacity::SLOTS / capacity::BACKENDS;
const COUNTERS_PER_FRONTEND: u32 = capacity::COUNTERS / capacity::FRONTENDS;

impl Sizes {
    /// The capacities that follow, by the name of the map. Others are what the object says.
    pub const fn capacities(self) -> [(&'static str, u32); 8] {
        let Self {
            max_frontends: frontends,
            max_backends: backends,
            max_affinities: affinities,
        } = self;
        [
            (maps::FRONTENDS, frontends),
            (maps::PORTS, frontends),
            (maps::TABLES, frontends),
            (maps::GROUPS, frontends),
            (maps::COUNTERS, frontends * COUNTERS_PER_FRONTEND),
            (maps::BACKENDS, backends),
            (maps::SLOTS, backends * SLOTS_PER_BACKEND),
            (maps::AFFINITY, affinities),
        ]
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            max_frontends: capacity::FRONTENDS,
            max_backends: capacity::BACKENDS,
            max_affinities: capacity::AFFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_capacities_of_the_object() {
        let of = |name| {
            let all = Sizes::default().capacities();
            all.into_iter().find(|(map, _)| *map == name)
        };
        for (map, expected) in [
            (maps::FRONTENDS, capacity::FRONTENDS),
            (maps::PORTS, capacity::PORTS),
            (maps::TABLES, capacity::TABLES),
            (maps::GROUPS, capacity::GROUPS),
            (maps::COUNTERS, capacity::COUNTERS),
            (maps::BACKENDS, capacity::BACKENDS),
            (maps::SLOTS, capacity::SLOTS),
            (maps::AFFINITY, capacity::AFFINITY),
        ] {
            assert_eq!(of(map), Some((map, expected)));
        }
    }
}
