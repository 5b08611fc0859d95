//! The walk through a table in search of a backend, run on the host.

use sluice_node_abi::values::{Backend, Group, Table, mode};
use sluice_node_ebpf::{
    choose::{TIERS, Tables},
    member::{STEPS, Walk},
};

#[derive(Default)]
struct Arrays {
    tables: Vec<Table>,
    groups: Vec<Group>,
    slots: Vec<u32>,
}

impl Arrays {
    fn new() -> Self {
        Self {
            tables: vec![Table::default()],
            groups: vec![Group::default()],
            slots: Vec::new(),
        }
    }

    fn range(&mut self, slots: &[u32]) -> (u32, u32) {
        let offset = self.slots.len() as u32;
        self.slots.extend(slots);
        (offset, slots.len() as u32)
    }

    fn add_group(&mut self, backends: &[u32]) -> u32 {
        let (offset, length) = self.range(backends);
        self.groups.push(Group {
            mode: mode::SEQUENCE,
            offset,
            length,
            ..Group::default()
        });
        self.groups.len() as u32 - 1
    }

    fn add_table(&mut self, groups: &[u32], next: u32) -> u32 {
        let (offset, length) = self.range(groups);
        self.tables.push(Table {
            mode: mode::SEQUENCE,
            offset,
            length,
            next,
            ..Table::default()
        });
        self.tables.len() as u32 - 1
    }

    /// As the kernel's loop walks.
    fn holds(&self, root: u32, backend: u32) -> bool {
        let Some(mut walk) = Walk::new(self, root, backend) else {
            return false;
        };
        for _ in 0..STEPS {
            if !walk.step(self) {
                break;
            }
        }
        walk.has_found()
    }
}

impl Tables for Arrays {
    fn table(&self, id: u32) -> Option<&Table> {
        self.tables.get(id as usize)
    }

    fn group(&self, id: u32) -> Option<&Group> {
        self.groups.get(id as usize)
    }

    fn backend(&self, _: u32) -> Option<&Backend> {
        None
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

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

#[test]
fn every_backend_of_every_group_is_found_and_no_other() {
    let mut arrays = Arrays::new();
    let elsewhere = arrays.add_group(&[7, 8]);
    let (empty, one, many) = (
        arrays.add_group(&[]),
        arrays.add_group(&[1]),
        arrays.add_group(&[2, 3, 4]),
    );
    let table = arrays.add_table(&[one, 0, many, empty, one, many], 0);
    arrays.add_table(&[elsewhere], 0);
    for backend in 1..=4 {
        assert!(arrays.holds(table, backend), "{backend}");
    }
    for backend in [0, 5, 7, 8] {
        assert!(!arrays.holds(table, backend), "{backend}");
    }
}

#[test]
fn fall_backs_count() {
    let mut arrays = Arrays::new();
    let mut next = 0;
    for tier in 0..TIERS + 1 {
        let group = arrays.add_group(&[100 + tier]);
        next = arrays.add_table(&[group], next);
    }
    assert!(arrays.holds(next, 100 + TIERS));
    assert!(arrays.holds(next, 100));
    assert!(!arrays.holds(next, 101 + TIERS));
}

#[test]
fn tables_that_lead_nowhere_or_in_a_ring_hold_nothing_else() {
    let mut arrays = Arrays::new();
    let group = arrays.add_group(&[1]);
    let ring = arrays.add_table(&[group], 1);
    assert_eq!(ring, 1);
    assert!(arrays.holds(ring, 1));
    assert!(!arrays.holds(ring, 2));
    assert!(!arrays.holds(0, 1));
    assert!(!arrays.holds(99, 1));
}

#[test]
fn groups_of_thousands_are_seen_to_their_end() {
    let mut arrays = Arrays::new();
    let group = arrays.add_group(&(1..=5000).collect::<Vec<_>>());
    let table = arrays.add_table(&[group], 0);
    assert!(arrays.holds(table, 5000));
    assert!(!arrays.holds(table, 5001));
}
