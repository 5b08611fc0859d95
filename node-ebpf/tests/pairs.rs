//! What a datagram socket remembers, run on the host.

use proptest::prelude::*;
use sluice_node_abi::{
    datagrams::{Datagrams, PAIRS, Pair},
    keys::{self, FrontendKey},
};
use sluice_node_ebpf::pairs::{STICK, is_in_use, let_go, oldest, receiving, sending};
use zerocopy::FromZeros;

const START: u64 = 10 * STICK;

fn front(number: u8) -> FrontendKey {
    FrontendKey {
        address: [number; 16],
        port: [0, 53],
        protocol: keys::UDP,
        scope: keys::SCOPE_ANY,
    }
}

fn pair(to: u8, from: u8, last: u64) -> Pair {
    Pair {
        front: front(to),
        backend_address: [from; 16],
        backend_port: [0, 53],
        last,
        ..Pair::new_zeroed()
    }
}

fn of(pairs: &[Pair]) -> Datagrams {
    let mut all = Datagrams::new_zeroed();
    all.pairs[..pairs.len()].copy_from_slice(pairs);
    all
}

#[test]
fn a_socket_that_never_sent_knows_nothing() {
    let mut nothing = Datagrams::new_zeroed();
    assert_eq!(sending(&mut nothing, &front(0), START), None);
    assert_eq!(receiving(&nothing, &[0; 16], [0, 0]), None);
    assert!(!is_in_use(oldest(&mut nothing), START));
}

#[test]
fn a_socket_keeps_its_backend_for_a_minute_from_the_last_send() {
    let mut all = of(&[pair(1, 9, START)]);
    let kept = |all: &mut Datagrams, now| sending(all, &front(1), now).is_some();
    assert!(kept(&mut all, START));
    assert!(kept(&mut all, START + STICK - 1));
    assert!(!kept(&mut all, START + STICK));
    assert!(sending(&mut all, &front(2), START).is_none());
}

#[test]
fn the_clock_may_have_started_less_than_a_minute_ago() {
    let mut all = of(&[pair(1, 9, 1)]);
    assert!(sending(&mut all, &front(1), 2).is_some());
    assert!(is_in_use(&all.pairs[0], 2));
}

#[test]
fn another_port_or_protocol_is_another_frontend() {
    let mut all = of(&[pair(1, 9, START)]);
    let other_port = FrontendKey {
        port: [0, 54],
        ..front(1)
    };
    let other_protocol = FrontendKey {
        protocol: keys::TCP,
        ..front(1)
    };
    assert_eq!(sending(&mut all, &other_port, START), None);
    assert_eq!(sending(&mut all, &other_protocol, START), None);
}

#[test]
fn answers_are_named_by_what_was_sent_last_and_also_late() {
    let all = of(&[pair(1, 9, START), pair(2, 9, START + 1), pair(3, 8, START)]);
    let name = |from: u8| receiving(&all, &[from; 16], [0, 53]).map(|pair| pair.front);
    assert_eq!(name(9), Some(front(2)));
    assert_eq!(name(8), Some(front(3)));
    assert_eq!(name(7), None);
    assert_eq!(receiving(&all, &[9; 16], [0, 54]), None);
}

#[test]
fn what_is_sent_straight_to_a_backend_takes_the_frontends_off_its_answers() {
    let mut all = of(&[pair(1, 9, START), pair(2, 9, START + 1), pair(3, 8, START)]);
    let_go(&mut all, &[9; 16], [0, 54]);
    assert!(receiving(&all, &[9; 16], [0, 53]).is_some());
    let_go(&mut all, &[9; 16], [0, 53]);
    assert_eq!(receiving(&all, &[9; 16], [0, 53]), None);
    assert!(receiving(&all, &[8; 16], [0, 53]).is_some());
    assert_eq!(sending(&mut all, &front(1), START + 2), None);
    assert!(!is_in_use(oldest(&mut all), START + 2));
}

proptest! {
    #[test]
    fn the_place_given_up_is_free_or_the_one_used_least_lately(
        lasts in proptest::collection::vec(0..100_u64, PAIRS),
    ) {
        let pairs: Vec<_> = lasts.iter().map(|last| pair(1, 1, *last)).collect();
        let given_up = oldest(&mut of(&pairs)).last;
        prop_assert_eq!(Some(given_up), lasts.into_iter().min());
    }
}
