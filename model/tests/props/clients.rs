//! Sticky splits: who stays, who moves, and how exact the shares are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use sluice_model::{
    caller::Caller,
    image::Image,
    sticky::{self, Bidder},
};
use sluice_node_abi::{slots, values::mode};

use crate::{
    choosing::{split_manifest, split_over},
    config,
    kernel::{Kernel, Outcome},
    world::{Event, Node, asks},
};

/// The places of a sticky table.
const PLACES: u32 = slots::STICKY_SLOTS;

/// How far a share may be from what was asked for.
const PRECISION: f64 = 0.01;

const NAMES: [&str; 16] = [
    "stable", "canary", "blue", "green", "v1", "v2", "v3", "v4", "a", "b", "c", "main", "next",
    "2-0", "2-1", "old",
];

fn weight() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        4 => 1..=100_u64,
        2 => prop::sample::select(vec![1, 5, 10, 50, 90, 100]),
        1 => 1..=1_000_000_u64,
    ]
}

fn sum(weights: &[u64]) -> u64 {
    weights.iter().sum()
}

fn bidders(weights: &[u64]) -> Vec<Bidder<'static>> {
    NAMES.into_iter().zip(weights.iter().copied()).collect()
}

/// The largest distance of a share from what its weight asks for.
fn error(places: &[u8], weights: &[u64]) -> f64 {
    let mut counts = vec![0_u32; weights.len()];
    for version in places {
        counts[usize::from(*version)] += 1;
    }
    let shares = counts.iter().zip(weights).map(|(count, weight)| {
        let share = f64::from(*count) / f64::from(PLACES);
        (share - *weight as f64 / sum(weights) as f64).abs()
    });
    shares.fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(config(20))]

    /// 50 changes each: 1,000 in all.
    #[test]
    fn a_client_moves_only_to_a_share_that_rose_or_from_one_that_fell(
        weights in (2..=16_usize).prop_flat_map(|count| {
            prop::collection::vec(prop::collection::vec(weight(), count), 51)
        }),
    ) {
        let weights: Vec<_> = weights.into_iter().filter(|weights| sum(weights) > 0).collect();
        let mut before: Option<(Vec<u64>, Vec<u8>)> = None;
        for weights in weights {
            let places = sticky::fill(&bidders(&weights));
            prop_assert_eq!(places.len(), PLACES as usize);
            let off = error(&places, &weights);
            prop_assert!(off < PRECISION, "{} for {:?}", off, weights);
            if let Some((old, known)) = before {
                // Is the share larger than it was?
                let rose = |version: u8| {
                    let version = usize::from(version);
                    u128::from(weights[version]) * u128::from(sum(&old))
                        > u128::from(old[version]) * u128::from(sum(&weights))
                };
                let fell = |version: u8| {
                    let version = usize::from(version);
                    u128::from(weights[version]) * u128::from(sum(&old))
                        < u128::from(old[version]) * u128::from(sum(&weights))
                };
                for (from, to) in known.into_iter().zip(&places) {
                    let stays = from == *to;
                    prop_assert!(stays || rose(*to) || fell(from), "{} to {}: {:?} to {:?}", from, to, old, weights);
                }
            }
            before = Some((weights, places));
        }
    }

    #[test]
    fn raising_one_weight_moves_clients_into_that_version_alone(
        weights in prop::collection::vec(1..=1_000_u64, 2..=16),
        raised in any::<prop::sample::Index>(),
        more in 1..=1_000_u64,
    ) {
        let before = sticky::fill(&bidders(&weights));
        let raised = raised.index(weights.len());
        let mut weights = weights;
        weights[raised] += more;
        let after = sticky::fill(&bidders(&weights));
        for (from, to) in before.into_iter().zip(after) {
            prop_assert!(from == to || usize::from(to) == raised);
        }
    }

    #[test]
    fn a_version_that_goes_moves_its_own_clients_and_nobody_else(
        weights in prop::collection::vec(1..=1_000_u64, 2..=16),
        goes in any::<prop::sample::Index>(),
    ) {
        let before = sticky::fill(&bidders(&weights));
        let goes = goes.index(weights.len());
        let mut weights = weights;
        weights[goes] = 0;
        let after = sticky::fill(&bidders(&weights));
        for (from, to) in before.into_iter().zip(after) {
            prop_assert!(from == to || usize::from(from) == goes);
        }
    }
}

#[test]
fn sticky_shares_are_within_one_in_a_hundred() {
    let mut worst = (0.0, Vec::new());
    for count in 2..=NAMES.len() {
        for step in 0..20_u64 {
            let weights: Vec<u64> = (0..count as u64)
                .map(|i| 1 + i * step * step % 97)
                .collect();
            let off = error(&sticky::fill(&bidders(&weights)), &weights);
            if off > worst.0 {
                worst = (off, weights);
            }
        }
    }
    println!(
        "the largest error is {:.3} % for {:?}",
        worst.0 * 100.0,
        worst.1
    );
    assert!(worst.0 < PRECISION, "{worst:?}");
}

/// A split over versions `v0`, `v1` and so on, with one backend each, that is sticky.
fn sticky_over(weights: &[u32]) -> Node {
    let mut node = split_over(weights);
    node.follow(&[Event::Set(sticky_split(weights))]);
    node
}

fn sticky_split(weights: &[u32]) -> serde_json::Value {
    let mut manifest = split_manifest(weights);
    manifest["spec"]["selection"] = "Sticky".into();
    manifest
}

/// The version that each of 5,000 clients gets, by the last number of the backend's address.
fn versions_of_clients(node: &Node) -> Vec<Option<u8>> {
    let kernel = Kernel::new(&node.observed, BTreeMap::new());
    let clients = (1..=5_000_u64).map(|client| Caller {
        cgroup: Some(client * 1_000_003),
        ..Caller::default()
    });
    let versions = clients.map(|client| match kernel.connect(client, asks()[0].frontend) {
        Ok(Outcome::Sent(backend)) => match backend.ip {
            std::net::IpAddr::V4(ip) => Some(ip.octets()[3] - 1),
            std::net::IpAddr::V6(ip) => panic!("{ip}"),
        },
        Ok(Outcome::Refused) => None,
        outcome => panic!("{outcome:?}"),
    });
    versions.collect()
}

#[test]
fn five_thousand_clients_go_where_their_places_are() {
    for weights in [[90, 10, 0], [80, 20, 0], [1, 1, 1], [0, 0, 7]] {
        let node = sticky_over(&weights);
        let found = versions_of_clients(&node);
        let named: Vec<Bidder<'_>> = ["v0", "v1", "v2"]
            .into_iter()
            .zip(weights.map(u64::from))
            .collect();
        let places = sticky::fill(&named);
        let expected = (1..=5_000_u64).map(|client| {
            let place = slots::place(client * 1_000_003);
            Some(places[place as usize])
        });
        assert!(found.iter().copied().eq(expected), "{weights:?}");
        for (version, weight) in (0..).zip(weights) {
            let count = found.iter().filter(|v| **v == Some(version)).count();
            let (share, asked) = (
                count as f64 / 5_000.0,
                f64::from(weight) / f64::from(weights.iter().sum::<u32>()),
            );
            println!(
                "{weights:?}: version {version} has {:.1} % of clients, {:.1} % asked",
                share * 100.0,
                asked * 100.0
            );
        }
    }
}

#[test]
fn the_clients_of_a_version_without_backends_move_or_are_refused_and_nobody_else() {
    let weights = [50, 30, 20];
    let mut node = sticky_over(&weights);
    let before = versions_of_clients(&node);
    let gone = sluice_model::key::Subject {
        kind: sluice_model::key::Kind::EndpointSlice,
        name: sluice_model::key::Name::parse("shop", "v1-ipv4").expect("a name"),
    };
    node.follow(&[Event::Gone(gone)]);
    let after = versions_of_clients(&node);
    assert!(
        after
            .iter()
            .all(|version| *version != Some(1) && version.is_some())
    );
    let moved = before.iter().zip(&after).filter(|(from, to)| from != to);
    assert!(moved.clone().all(|(from, _)| *from == Some(1)));
    assert!(moved.count() > 1_000);

    let mut rejecting = sticky_split(&weights);
    rejecting["spec"]["whenUnavailable"] = "Reject".into();
    node.follow(&[Event::Set(rejecting)]);
    let refused = versions_of_clients(&node);
    for (from, to) in before.into_iter().zip(refused) {
        assert_eq!(to, from.filter(|version| *version != 1));
    }
}

/// The slots of all sticky tables, but for the groups' numbers.
fn places(image: &Image) -> BTreeSet<Vec<u32>> {
    let sticky = image
        .tables
        .iter()
        .filter(|(_, table)| table.mode == mode::STICKY);
    let cells = sticky.map(|(_, table)| {
        let slots = image.slots.run(table.offset, table.length);
        slots.skip(slots::VERSIONS as usize).collect()
    });
    cells.collect()
}

#[test]
fn every_node_leads_a_client_to_the_same_version() {
    let weights = [5, 3, 2, 1];
    let one = sticky_over(&weights);
    // Another history, other numbers, another order of versions.
    let mut other = sticky_over(&[1, 1]);
    other.follow(&[Event::Set(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "more", "namespace": "shop"},
        "spec": {"clusterIPs": ["10.96.0.4"], "ports": [{"port": 80}]},
    }))]);
    other.follow(&crate::choosing::versions(weights.len()));
    other.follow(&[Event::Set(sticky_split(&weights))]);
    assert_eq!(places(&one.observed), places(&other.observed));
    assert_eq!(
        places(&one.observed).len(),
        1,
        "two ports, two families, one split"
    );
    assert_eq!(versions_of_clients(&one), versions_of_clients(&other));
}
