//! The kernel's choice, run on the host.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use sluice_node_abi::{
    slots,
    values::{Backend, CARRIED, Group, Table, mode},
};
use sluice_node_ebpf::choose::{Choice, Refusal, TIERS, Tables, choose};

/// Arrays as the kernel has them: entry 0 is nobody's.
#[derive(Default)]
struct Arrays {
    tables: Vec<Table>,
    groups: Vec<Group>,
    backends: Vec<Backend>,
    slots: Vec<u32>,
    counters: RefCell<Vec<u64>>,
    chance: Cell<u32>,
    client: Cell<u64>,
}

impl Arrays {
    fn new() -> Self {
        Self {
            tables: vec![Table::default()],
            groups: vec![Group::default()],
            backends: vec![Backend::default()],
            counters: RefCell::new(vec![0]),
            ..Self::default()
        }
    }

    fn counter(&mut self) -> u32 {
        let mut counters = self.counters.borrow_mut();
        counters.push(0);
        counters.len() as u32 - 1
    }

    fn range(&mut self, slots: &[u32]) -> (u32, u32) {
        let offset = self.slots.len() as u32;
        self.slots.extend(slots);
        (offset, slots.len() as u32)
    }

    /// A group of `size` new backends.
    fn add_group(&mut self, size: usize) -> u32 {
        let ids: Vec<_> = (0..size)
            .map(|_| {
                self.backends.push(Backend {
                    generation: 1,
                    ..Backend::default()
                });
                self.backends.len() as u32 - 1
            })
            .collect();
        let counter = self.counter();
        let (offset, length) = self.range(&ids);
        self.groups.push(Group {
            mode: mode::SEQUENCE,
            offset,
            length,
            counter,
        });
        self.groups.len() as u32 - 1
    }

    fn add_table(&mut self, mode: u32, slots: &[u32], next: u32) -> u32 {
        let counter = self.counter();
        self.counters
            .borrow_mut()
            .extend([0; slots::VERSIONS as usize]);
        let (offset, length) = self.range(slots);
        self.tables.push(Table {
            mode,
            offset,
            length,
            counter,
            next,
            carried: carried(slots),
            ..Table::default()
        });
        self.tables.len() as u32 - 1
    }

    /// A table that is this group.
    fn add_table_over(&mut self, group: u32, next: u32) -> u32 {
        let Group {
            mode,
            offset,
            length,
            counter,
        } = self.groups[group as usize];
        let slots = &self.slots[offset as usize..][..length as usize];
        self.tables.push(Table {
            mode,
            offset,
            length,
            counter,
            group,
            next,
            carried: carried(slots),
            ..Table::default()
        });
        self.tables.len() as u32 - 1
    }
}

fn carried(slots: &[u32]) -> [u32; CARRIED] {
    let mut carried = [0; CARRIED];
    for (carried, slot) in carried.iter_mut().zip(slots) {
        *carried = *slot;
    }
    carried
}

impl Tables for Arrays {
    fn table(&self, id: u32) -> Option<&Table> {
        self.tables.get(id as usize)
    }

    fn group(&self, id: u32) -> Option<&Group> {
        self.groups.get(id as usize)
    }

    fn backend(&self, id: u32) -> Option<&Backend> {
        self.backends.get(id as usize)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

    fn tick(&self, counter: u32) -> Option<u64> {
        let mut counters = self.counters.borrow_mut();
        let value = counters.get_mut(counter as usize)?;
        *value += 1;
        Some(*value - 1)
    }

    fn count(&self, counter: u32) {
        self.counters.borrow_mut()[counter as usize] += 1;
    }

    fn random(&self) -> u32 {
        self.chance.get()
    }

    fn client(&self) -> u64 {
        self.client.get()
    }

    fn sockets(&self, _: u32) -> u64 {
        0
    }
}

fn groups_chosen(arrays: &Arrays, table: u32, times: usize) -> Vec<u32> {
    (0..times)
        .filter_map(|_| Some(choose(arrays, table).ok()?.group))
        .collect()
}

proptest! {
    #[test]
    fn a_sequence_is_walked_slot_by_slot_and_around(
        schedule in prop::collection::vec(0..3_usize, 1..50),
        rounds in 1..4_usize,
    ) {
        let mut arrays = Arrays::new();
        let groups = [arrays.add_group(1), arrays.add_group(2), arrays.add_group(3)];
        let slots: Vec<_> = schedule.iter().map(|&index| groups[index]).collect();
        let table = arrays.add_table(mode::SEQUENCE, &slots, 0);
        let expected: Vec<_> = slots.repeat(rounds);
        prop_assert_eq!(groups_chosen(&arrays, table, expected.len()), expected);
    }

    #[test]
    fn interleaved_tables_and_groups_do_not_disturb_each_other(
        order in prop::collection::vec(any::<bool>(), 1..200),
    ) {
        let mut arrays = Arrays::new();
        let shared = arrays.add_group(1);
        let ours = arrays.add_group(2);
        let left = arrays.add_table(mode::SEQUENCE, &[shared, shared, ours], 0);
        let right = arrays.add_table(mode::SEQUENCE, &[ours, shared], 0);
        let mut walked = [0_usize; 2];
        for go_left in order {
            let table = if go_left { left } else { right };
            let slots: &[u32] = if go_left { &[shared, shared, ours] } else { &[ours, shared] };
            let walked = &mut walked[usize::from(go_left)];
            prop_assert_eq!(choose(&arrays, table).unwrap().group, slots[*walked % slots.len()]);
            *walked += 1;
        }
    }

    #[test]
    fn a_table_that_is_its_group_chooses_as_one_that_leads_there(
        how in 1..5_u32,
        size in 0..2 * CARRIED,
        chances in prop::collection::vec(any::<u32>(), 1..50),
    ) {
        let mut arrays = Arrays::new();
        let (one, same) = (arrays.add_group(size), arrays.add_group(size));
        arrays.groups[one as usize].mode = how;
        arrays.groups[same as usize].mode = how;
        let fall_back = arrays.add_group(1);
        let next = arrays.add_table(mode::SEQUENCE, &[fall_back], 0);
        let leads = arrays.add_table(mode::SEQUENCE, &[one], next);
        let is = arrays.add_table_over(same, next);
        for chance in chances {
            arrays.chance.set(chance);
            let (left, right) = (choose(&arrays, leads), choose(&arrays, is));
            let nth = |choice: Choice, group: u32| (choice.group == group, choice.backend - 1);
            let left = left.map(|choice| nth(choice, one));
            let right = right.map(|choice| match nth(choice, same) {
                (true, backend) => (true, backend - size as u32),
                fallen_back => fallen_back,
            });
            prop_assert_eq!(left, right);
        }
    }

    #[test]
    fn a_sticky_table_gives_a_client_the_version_of_its_place(
        versions in 1..=slots::VERSIONS,
        clients in prop::collection::vec(any::<u64>(), 1..50),
    ) {
        let mut arrays = Arrays::new();
        let groups: Vec<_> = (0..versions).map(|_| arrays.add_group(2)).collect();
        let version_of = |place: u32| (place / 3) % versions;
        let mut table = vec![0; slots::STICKY_LENGTH as usize];
        for (slot, version) in table.iter_mut().zip(0..versions) {
            // The last of several refuses.
            let refuses = version > 0 && version + 1 == versions;
            *slot = slots::slot(version, if refuses { 0 } else { groups[version as usize] });
        }
        for place in 0..slots::STICKY_SLOTS {
            let cell = &mut table[slots::cell_of(place) as usize];
            *cell = slots::packed(*cell, place, version_of(place));
        }
        let table = arrays.add_table(mode::STICKY, &table, 0);
        for client in clients {
            arrays.client.set(client);
            let version = version_of(slots::place(client));
            let expected = if version > 0 && version + 1 == versions {
                Err(Refusal::Empty)
            } else {
                Ok(groups[version as usize])
            };
            for _ in 0..3 {
                prop_assert_eq!(choose(&arrays, table).map(|choice| choice.group), expected);
            }
        }
    }

    #[test]
    fn every_slot_has_the_same_chance(length in 1..200_u32) {
        let mut arrays = Arrays::new();
        let groups: Vec<_> = (0..length).map(|_| arrays.add_group(1)).collect();
        let table = arrays.add_table(mode::RANDOM, &groups, 0);
        let samples = length * 64;
        let mut seen = vec![0_u32; arrays.groups.len()];
        for sample in 0..samples {
            let evenly = (u64::from(sample) << 32) / u64::from(samples);
            arrays.chance.set(evenly as u32);
            seen[choose(&arrays, table).unwrap().group as usize] += 1;
        }
        for group in groups {
            prop_assert!(seen[group as usize].abs_diff(64) <= 1);
        }
    }
}

#[test]
fn a_slot_without_a_version_refuses_its_share_and_no_more() {
    let mut arrays = Arrays::new();
    let group = arrays.add_group(1);
    let table = arrays.add_table(mode::SEQUENCE, &[0, group, 0, 0, 0], 0);
    let outcomes: Vec<_> = (0..10).map(|_| choose(&arrays, table).is_ok()).collect();
    assert_eq!(outcomes, [false, true, false, false, false].repeat(2));
    assert_eq!(choose(&arrays, table), Err(Refusal::Empty));
}

#[test]
fn every_choice_of_a_version_is_counted_and_every_refusal_of_one() {
    let mut arrays = Arrays::new();
    let group = arrays.add_group(1);
    let slots = [
        slots::slot(0, group),
        slots::slot(3, 0),
        slots::slot(0, group),
    ];
    let table = arrays.add_table(mode::SEQUENCE, &slots, 0);
    let sent = (0..7).filter(|_| choose(&arrays, table).is_ok()).count();
    let first = arrays.tables[table as usize].counter as usize;
    let counters = arrays.counters.borrow();
    assert_eq!(
        (sent, &counters[first..first + 5]),
        (5, &[7, 5, 0, 0, 2][..])
    );
}

#[test]
fn a_table_without_slots_refuses() {
    let mut arrays = Arrays::new();
    let table = arrays.add_table(mode::SEQUENCE, &[], 0);
    assert_eq!(choose(&arrays, table), Err(Refusal::Empty));
}

#[test]
fn a_group_without_backends_falls_back_to_the_next_table() {
    let mut arrays = Arrays::new();
    let (empty, full) = (arrays.add_group(0), arrays.add_group(1));
    let cluster = arrays.add_table(mode::SEQUENCE, &[full], 0);
    let local = arrays.add_table(mode::SEQUENCE, &[empty], cluster);
    assert_eq!(
        choose(&arrays, local),
        Ok(Choice {
            group: full,
            backend: 1
        })
    );
}

#[test]
fn a_ring_of_fall_backs_ends_in_a_refusal() {
    let mut arrays = Arrays::new();
    let empty = arrays.add_group(0);
    let table = arrays.add_table(mode::SEQUENCE, &[empty, empty], 1);
    assert_eq!(table, 1);
    assert_eq!(choose(&arrays, table), Err(Refusal::Empty));
    let counter = arrays.tables[table as usize].counter as usize;
    assert_eq!(arrays.counters.borrow()[counter], u64::from(TIERS));
}

#[test]
fn a_reference_to_nothing_is_told_apart_from_a_refusal_by_policy() {
    let mut arrays = Arrays::new();
    assert_eq!(choose(&arrays, 99), Err(Refusal::Dangling));

    let to_no_group = arrays.add_table(mode::SEQUENCE, &[99], 0);
    assert_eq!(choose(&arrays, to_no_group), Err(Refusal::Dangling));

    let group = arrays.add_group(1);
    let table = arrays.add_table(mode::SEQUENCE, &[group], 0);
    arrays.backends[1].generation = 0;
    assert_eq!(choose(&arrays, table), Err(Refusal::Dangling));

    let unknown_mode = arrays.add_table(77, &[group], 0);
    assert_eq!(choose(&arrays, unknown_mode), Err(Refusal::Dangling));
}
