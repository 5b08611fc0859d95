//! Versions by where their connections lead.
//!
//! A connection shows its backend and not its version. Where versions share a backend nobody can say whose its connections
//! are, so such versions are one pool, with their shares together.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// By the number of the version.
    of_version: Vec<usize>,
    of_backend: HashMap<SocketAddr, usize>,
}

impl Pools {
    /// Of versions, each with all of its backends.
    pub fn of(versions: &[BTreeSet<SocketAddr>]) -> Self {
        let mut of_version: Vec<usize> = (0..versions.len()).collect();
        let mut first: HashMap<SocketAddr, usize> = HashMap::new();
        for (version, backends) in versions.iter().enumerate() {
            for backend in backends {
                let other = *first.entry(*backend).or_insert(version);
                let (mine, its) = (of_version[version], of_version[other]);
                if mine != its {
                    let lower = mine.min(its);
                    for pool in &mut of_version {
                        if *pool == mine || *pool == its {
                            *pool = lower;
                        }
                    }
                }
            }
        }
        let of_backend = first
            .into_iter()
            .map(|(backend, version)| (backend, of_version[version]));
        Self {
            of_backend: of_backend.collect(),
            of_version,
        }
    }

    /// The pool of the connections to this backend.
    pub fn of_backend(&self, backend: &SocketAddr) -> Option<usize> {
        self.of_backend.get(backend).copied()
    }

    /// The pool of a version, by its number.
    pub fn of_version(&self, version: usize) -> Option<usize> {
        self.of_version.get(version).copied()
    }

    /// The pools' shares, from those of the versions.
    pub fn shares(&self, versions: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut shares = vec![0; self.of_version.len()];
        for (pool, share) in self.of_version.iter().zip(versions) {
            shares[*pool] += share;
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(numbers: &[u8]) -> BTreeSet<SocketAddr> {
        let addresses = numbers
            .iter()
            .map(|number| ([10, 0, 0, *number], 80).into());
        addresses.collect()
    }

    #[test]
    fn versions_that_share_a_backend_are_one_pool_also_by_way_of_another() {
        let versions = [&[1][..], &[2, 3], &[], &[3, 4], &[4, 5]].map(backends);
        let pools = Pools::of(&versions);
        let of = |number| pools.of_backend(&([10, 0, 0, number], 80).into());
        assert_eq!(of(1), Some(0));
        assert!([2, 3, 4, 5].iter().all(|number| of(*number) == Some(1)));
        assert_eq!(of(6), None);
        assert_eq!(pools.shares([10, 20, 30, 40, 50]), [10, 110, 30, 0, 0]);
    }
}
