//! The search for a backend among those that a table can choose, run on the host.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sluice_node_abi::values::{Backend, Group, Table};
use sluice_node_ebpf::{
    choose::{TIERS, Tables},
    member::holds,
};

#[derive(Default)]
struct Arrays {
    tables: Vec<Table>,
    slots: Vec<u32>,
}

impl Arrays {
    fn new() -> Self {
        Self {
            tables: vec![Table::default()],
            slots: vec![0; 3],
        }
    }

    fn add_table(&mut self, members: impl IntoIterator<Item = u32>, next: u32) -> u32 {
        let members: BTreeSet<u32> = members.into_iter().collect();
        self.tables.push(Table {
            members: self.slots.len() as u32,
            member_count: members.len() as u32,
            next,
            ..Table::default()
        });
        self.slots.extend(members);
        self.tables.len() as u32 - 1
    }
}

impl Tables for Arrays {
    fn table(&self, id: u32) -> Option<&Table> {
        self.tables.get(id as usize)
    }

    fn group(&self, _: u32) -> Option<&Group> {
        None
    }

    fn backend(&self, _: u32) -> Option<&Backend> {
        None
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

    fn count(&self, _: u32) {}

    fn tick(&self, _: u32) -> Option<u64> {
        None
    }

    fn random(&self) -> u32 {
        0
    }

    fn client(&self) -> u64 {
        0
    }

    fn sockets(&self, _: u32) -> u64 {
        0
    }
}

proptest! {
    #[test]
    fn every_member_is_found_and_nobody_else(
        members in prop::collection::btree_set(1..500_u32, 0..200),
        neighbours in prop::collection::btree_set(1..500_u32, 0..50),
    ) {
        let mut arrays = Arrays::new();
        arrays.add_table(neighbours.clone(), 0);
        let table = arrays.add_table(members.clone(), 0);
        arrays.add_table(neighbours, 0);
        for backend in 1..502 {
            prop_assert_eq!(holds(&arrays, table, backend), members.contains(&backend));
        }
    }
}

#[test]
fn a_million_members_are_searched_to_both_ends() {
    let mut arrays = Arrays::new();
    let table = arrays.add_table((1..=1_000_000).map(|id| 2 * id), 0);
    for (backend, is_member) in [
        (1, false),
        (2, true),
        (999_999, false),
        (1_000_000, true),
        (2_000_000, true),
        (2_000_001, false),
        (u32::MAX, false),
    ] {
        assert_eq!(holds(&arrays, table, backend), is_member, "{backend}");
    }
}

#[test]
fn fall_backs_count() {
    let mut arrays = Arrays::new();
    let mut next = 0;
    for tier in 0..TIERS + 1 {
        next = arrays.add_table([100 + tier], next);
    }
    assert!(holds(&arrays, next, 100 + TIERS));
    assert!(holds(&arrays, next, 100));
    assert!(!holds(&arrays, next, 101 + TIERS));
}

#[test]
fn tables_that_lead_nowhere_or_in_a_ring_hold_nothing_else() {
    let mut arrays = Arrays::new();
    let ring = arrays.add_table([1], 1);
    assert_eq!(ring, 1);
    assert!(holds(&arrays, ring, 1));
    assert!(!holds(&arrays, ring, 2));
    assert!(!holds(&arrays, 0, 1));
    assert!(!holds(&arrays, 99, 1));
}
