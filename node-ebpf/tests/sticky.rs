//! Affinity and the ways of balancing that look at clients and sockets, with a clock that is turned by hand.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use sluice_node_abi::values::{Affinity, Backend, Group, Table, mode};
use sluice_node_ebpf::{
    choose::{Refusal, Tables},
    member,
    sticky::{Memory, select},
};

const SECONDS: u32 = 100;

/// One port: table 1 over group 1 over backends 1 to n.
struct Port {
    table: Table,
    group: Group,
    backends: Vec<Backend>,
    slots: Vec<u32>,
    generation: u32,
    ticks: Cell<u64>,
    chance: Cell<u32>,
    client: Cell<u64>,
    now: Cell<u64>,
    kept: RefCell<BTreeMap<u64, Affinity>>,
    open: BTreeMap<u32, u64>,
}

impl Port {
    fn new(how: u32, backends: u32) -> Self {
        let mut port = Self {
            table: Table {
                mode: mode::SEQUENCE,
                offset: 0,
                length: 1,
                affinity: SECONDS,
                ..Table::default()
            },
            group: Group {
                mode: how,
                offset: 1,
                counter: 1,
                ..Group::default()
            },
            backends: vec![Backend::default()],
            slots: Vec::new(),
            generation: 1,
            ticks: Cell::new(0),
            chance: Cell::new(1),
            client: Cell::new(7),
            now: Cell::new(1_000_000_000_000),
            kept: RefCell::default(),
            open: BTreeMap::new(),
        };
        for _ in 0..backends {
            port.backends.push(Backend {
                generation: 5,
                ..Backend::default()
            });
        }
        port.change((1..=backends).collect::<Vec<_>>().as_slice());
        port
    }

    /// The port's backends are these from now on.
    fn change(&mut self, backends: &[u32]) {
        let mut members = backends.to_vec();
        members.sort_unstable();
        members.dedup();
        self.slots = [&[1], backends, &members].concat();
        self.group.length = backends.len() as u32;
        self.table.members = 1 + self.group.length;
        self.table.member_count = members.len() as u32;
        self.table.carried[0] = 1;
        self.generation += 1;
    }

    fn connect(&self) -> u32 {
        select(self, 1, self.generation).map_or(0, |choice| choice.backend)
    }

    fn pass(&self, seconds: u64) {
        self.now.set(self.now.get() + seconds * 1_000_000_000);
    }
}

impl Tables for Port {
    fn table(&self, id: u32) -> Option<&Table> {
        (id == 1).then_some(&self.table)
    }

    fn group(&self, id: u32) -> Option<&Group> {
        (id == 1).then_some(&self.group)
    }

    fn backend(&self, id: u32) -> Option<&Backend> {
        self.backends.get(id as usize)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

    fn count(&self, _: u32) {}

    fn tick(&self, _: u32) -> Option<u64> {
        Some(self.ticks.replace(self.ticks.get() + 1))
    }

    fn random(&self) -> u32 {
        let next = self
            .chance
            .get()
            .wrapping_mul(747_796_405)
            .wrapping_add(2_891_336_453);
        self.chance.replace(next)
    }

    fn client(&self) -> u64 {
        self.client.get()
    }

    fn sockets(&self, backend: u32) -> u64 {
        self.open.get(&backend).copied().unwrap_or_default()
    }
}

impl Memory for Port {
    fn recall(&self) -> Option<Affinity> {
        self.kept.borrow().get(&self.client()).copied()
    }

    fn remember(&self, affinity: &Affinity) {
        self.kept.borrow_mut().insert(self.client(), *affinity);
    }

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn holds(&self, root: u32, backend: u32) -> bool {
        member::holds(self, root, backend)
    }
}

#[test]
fn a_client_keeps_its_backend_and_others_have_theirs() {
    let port = Port::new(mode::SEQUENCE, 3);
    let first = port.connect();
    assert!((0..10).all(|_| port.connect() == first));
    port.client.set(8);
    let other = port.connect();
    assert_ne!(other, first);
    assert_eq!(port.connect(), other);
    port.client.set(7);
    assert_eq!(port.connect(), first);
}

#[test]
fn the_time_runs_from_the_last_connect() {
    let port = Port::new(mode::SEQUENCE, 3);
    let first = port.connect();
    for _ in 0..5 {
        port.pass(SECONDS.into());
        assert_eq!(port.connect(), first);
    }
    port.pass(u64::from(SECONDS) + 1);
    assert_ne!(port.connect(), first);
}

#[test]
fn a_clock_that_was_set_back_keeps_the_client() {
    let port = Port::new(mode::SEQUENCE, 3);
    let first = port.connect();
    port.now.set(0);
    assert_eq!(port.connect(), first);
}

#[test]
fn a_backend_that_is_not_the_ports_any_more_is_left() {
    let mut port = Port::new(mode::SEQUENCE, 3);
    let first = port.connect();
    let others: Vec<u32> = (1..=3).filter(|id| *id != first).collect();
    // Another Service may still have it: its row is there as before.
    port.change(&others);
    let second = port.connect();
    assert!(others.contains(&second));
    assert_eq!(port.connect(), second);
}

#[test]
fn a_change_of_other_backends_moves_nobody() {
    let mut port = Port::new(mode::SEQUENCE, 3);
    let first = port.connect();
    let other = if first == 1 { 2 } else { 1 };
    port.change(&[first, other]);
    assert!((0..5).all(|_| port.connect() == first));
}

#[test]
fn an_id_that_was_given_out_again_is_not_the_same_backend() {
    let mut port = Port::new(mode::SEQUENCE, 3);
    let first = port.connect();
    port.backends[first as usize].generation += 1;
    let generation = port.generation;
    port.change(&[first % 3 + 1]);
    port.generation = generation;
    assert_eq!(port.connect(), first % 3 + 1);
}

#[test]
fn without_affinity_nothing_is_remembered() {
    let mut port = Port::new(mode::SEQUENCE, 3);
    port.table.affinity = 0;
    let chosen: BTreeSet<u32> = (0..3).map(|_| port.connect()).collect();
    assert_eq!(chosen.len(), 3);
    assert!(port.kept.borrow().is_empty());
}

#[test]
fn a_client_of_a_port_without_backends_is_refused_though_it_had_one() {
    let mut port = Port::new(mode::SEQUENCE, 1);
    assert_eq!(port.connect(), 1);
    port.table.carried[0] = 0;
    port.table.member_count = 0;
    port.generation += 1;
    assert_eq!(select(&port, 1, port.generation), Err(Refusal::Empty));
}

#[test]
fn the_better_of_two_evens_out_open_sockets() {
    let mut port = Port::new(mode::LEAST_SOCKETS, 10);
    port.table.affinity = 0;
    for _ in 0..1_000 {
        *port.open.entry(port.connect()).or_default() += 1;
    }
    let (least, most) = (port.open.values().min(), port.open.values().max());
    assert!(
        port.open.len() == 10 && most <= least.map(|l| l + 8).as_ref(),
        "{:?}",
        port.open
    );
}

#[test]
fn a_consistent_group_goes_by_the_client_alone() {
    let mut port = Port::new(mode::CONSISTENT, 4);
    port.table.affinity = 0;
    let slots: Vec<u32> = (0..997).map(|slot| slot % 4 + 1).collect();
    port.change(&slots);
    let mut clients = BTreeMap::<u32, usize>::new();
    for client in 0..1_000 {
        port.client.set(client);
        let first = port.connect();
        assert_eq!(port.connect(), first);
        *clients.entry(first).or_default() += 1;
    }
    assert!(
        clients.values().all(|count| (200..300).contains(count)),
        "{clients:?}"
    );
}
