//! The kernel's choice, run on the host over lowered images.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_crds::split::Selection;
use sluice_model::{
    desired::Backend,
    key::Port,
    oracle::{self, Answer},
};

use crate::{
    config,
    kernel::{Kernel, Outcome},
    world::{Ask, Event, Node, asks, service, slice, split},
};

/// Every Service with its slices, and a split of up to 16 versions on one of them.
fn worlds() -> impl Strategy<Value = Vec<Event>> {
    let services = prop::collection::vec(service(), 3..8);
    let slices = prop::collection::vec(slice(), 4..14);
    let splits = prop::collection::vec(split(16), 1..4);
    (services, slices, splits).prop_map(|(services, slices, splits)| {
        let manifests = services.into_iter().chain(slices).chain(splits);
        manifests.map(Event::Set).collect()
    })
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn the_kernels_choice_is_what_both_oracles_say(events in worlds()) {
        let mut node = Node::new();
        node.follow(&events);
        node.check_answers()?;
        let kernel = Kernel::new(&node.observed, BTreeMap::new());
        for Ask { caller, frontend } in asks() {
            let wanted = oracle::by_desired(node.state.desired(), caller, frontend);
            let connect = || kernel.connect(caller, frontend);
            let Answer::Decided(odds) = wanted else {
                prop_assert_eq!(connect(), Ok(Outcome::Passed), "{}", frontend);
                continue;
            };
            let connects: Result<Vec<_>, _> = (0..100).map(|_| connect()).collect();
            let connects = connects.map_err(|r| TestCaseError::fail(format!("{frontend}: {r:?}")))?;
            let connects: Option<Vec<_>> = connects.into_iter().map(Outcome::decided).collect();
            let connects = connects.ok_or_else(|| TestCaseError::fail("a connect was left alone"))?;
            // Ports with the same backends share a group, never a table.
            if let Err(why) = odds.check_connects(connects.iter().copied()) {
                return Err(TestCaseError::fail(format!("{frontend}: {why}\n{:#}", node.observed)));
            }
        }
    }
}

/// 2 to 16 weights whose sum in lowest terms is at most 4,096.
fn weights() -> impl Strategy<Value = Vec<u32>> {
    (2..=16_usize, 0..4_u32)
        .prop_flat_map(|(count, size)| {
            let most = match size {
                0 => 3,
                1 => 40,
                _ => 4096 / u32::try_from(count).expect("a small number"),
            };
            prop::collection::vec(1..=most, count)
        })
        .prop_map(|mut weights| {
            // Now and then one version has nearly everything.
            if weights[0] % 3 == 0 {
                let others: u32 = weights[1..].iter().sum();
                weights[0] = 4096_u32.saturating_sub(others).max(1);
            }
            weights
        })
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn every_prefix_of_a_sequence_is_within_one_of_the_ideal(weights in weights()) {
        let node = split_over(&weights);
        let ask = asks()[0];
        let kernel = Kernel::new(&node.observed, BTreeMap::new());
        let sum: i64 = weights.iter().map(|w| i64::from(*w)).sum();
        let mut counts = vec![0_i64; weights.len()];
        for n in 1..=10_000_i64 {
            let Ok(Outcome::Sent(backend)) = kernel.connect(ask.caller, ask.frontend) else {
                panic!("a backend")
            };
            let std::net::IpAddr::V4(ip) = backend.ip else { panic!("{backend}") };
            counts[usize::from(ip.octets()[3]) - 1] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let apart = (count * sum - i64::from(*weight) * n).abs();
                prop_assert!(apart < sum, "after {n}: {counts:?} of {weights:?}");
            }
        }
    }
}

#[test]
fn ports_and_families_do_not_share_a_counter() {
    let node = split_over(&[9, 1]);
    let tables: Vec<u32> = node
        .observed
        .tables
        .iter()
        .map(|(_, t)| t.own_counter())
        .collect();
    let walked: Vec<u32> = tables.into_iter().filter(|counter| *counter != 0).collect();
    let distinct: std::collections::BTreeSet<u32> = walked.iter().copied().collect();
    assert_eq!(walked.len(), 4, "two ports, two families");
    assert_eq!(distinct.len(), 4);
}

#[test]
fn a_random_selection_comes_near_its_shares() {
    let mut node = split_over(&[3, 1]);
    let mut manifest = split_manifest(&[3, 1]);
    manifest["spec"]["selection"] = "Random".into();
    node.follow(&[Event::Set(manifest)]);
    let ask = asks()[0];
    let wanted = oracle::by_desired(node.state.desired(), ask.caller, ask.frontend);
    let Answer::Decided(odds) = wanted else {
        panic!("a frontend")
    };
    assert_eq!(odds.selection, Selection::Random);
    let kernel = Kernel::new(&node.observed, BTreeMap::new());
    let first: Backend = Backend {
        ip: [10, 0, 0, 1].into(),
        port: Port::new(8080).expect("a port"),
    };
    let hits = (0..10_000)
        .filter(|_| kernel.connect(ask.caller, ask.frontend) == Ok(Outcome::Sent(first)))
        .count();
    assert!((7_200..7_800).contains(&hits), "{hits} of 10,000 at 3 to 1");
}

pub(crate) fn split_manifest(weights: &[u32]) -> Value {
    let versions: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(i, weight)| {
            json!({"name": format!("v{i}"), "service": format!("v{i}"), "weight": weight})
        })
        .collect();
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": "t", "namespace": "shop"},
        "spec": {"service": "front", "versions": versions},
    })
}

/// A dual-stack Service of two ports, split over versions of one backend each.
pub(crate) fn split_over(weights: &[u32]) -> Node {
    let mut events = versions(weights.len());
    events.push(Event::Set(split_manifest(weights)));
    let mut node = Node::new();
    node.follow(&events);
    node
}

/// The Service, and those that lend the versions' endpoints.
pub(crate) fn versions(count: usize) -> Vec<Event> {
    let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53}]);
    let mut events = vec![Event::Set(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "front", "namespace": "shop"},
        "spec": {"clusterIPs": ["10.96.0.1", "fd00::1"], "ports": ports},
    }))];
    for i in 0..count {
        let name = format!("v{i}");
        events.push(Event::Set(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": "None", "ports": ports},
        })));
        for (family, address) in [
            ("IPv4", format!("10.0.0.{}", i + 1)),
            ("IPv6", format!("fd01::{}", i + 1)),
        ] {
            events.push(Event::Set(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{name}-{}", family.to_lowercase()), "namespace": "shop",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": family,
                "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 5353}],
                "endpoints": [{"addresses": [address]}],
            })));
        }
    }
    events
}
