//! Many splits over the same versions: what they cost, and what they share.

use std::time::Instant;

use serde_json::{Value, json};
use sluice_model::{
    ids::Capacities,
    image::{Entry, Image, Place},
    plan::Op,
};

use crate::world::{Event, Node};

const SPLITS: usize = 500;
const VERSIONS: usize = 16;
const PODS: usize = 1_000;

fn service(name: &str, ip: &str) -> Event {
    Event::Set(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]},
    }))
}

/// The pods of one version, each once in [`VERSIONS`].
fn slice(version: usize, pods: usize) -> Event {
    let pods = (version..pods).step_by(VERSIONS);
    let endpoints = pods.map(|pod| {
        let address = format!("10.1.{}.{}", pod / 250, pod % 250 + 1);
        json!({"addresses": [address]})
    });
    let name = format!("v{version}");
    Event::Set(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"port": 8080}], "endpoints": endpoints.collect::<Vec<Value>>(),
    }))
}

fn split(number: usize) -> Event {
    let versions = (0..VERSIONS).map(|version| {
        let name = format!("v{version}");
        json!({"name": name, "service": name, "weight": (version + number) % 23 + 1})
    });
    Event::Set(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": format!("t{number}"), "namespace": "shop"},
        "spec": {"service": format!("s{number}"), "versions": versions.collect::<Vec<_>>()},
    }))
}

/// The kernel rounds slots up to 8 bytes.
fn bytes(image: &Image) -> usize {
    let (tables, groups) = (image.tables.iter().count(), image.groups.iter().count());
    let (slots, backends) = (image.slots.iter().count(), image.backends.iter().count());
    let counters = image.counters.iter().count();
    tables * 64 + groups * 16 + slots * 8 + backends * 32 + counters * 8
}

#[test]
fn splits_over_the_same_versions_share_their_groups() {
    let mut events = Vec::new();
    for version in 0..VERSIONS {
        events.push(service(&format!("v{version}"), "None"));
        events.push(slice(version, PODS));
    }
    for number in 0..SPLITS {
        let ip = format!("10.96.{}.{}", number / 250, number % 250 + 1);
        events.push(service(&format!("s{number}"), &ip));
        events.push(split(number));
    }
    let mut node = Node::new();
    let began = Instant::now();
    node.follow(&events);
    println!("compiled and filled in {:?}", began.elapsed());
    let image = &node.observed;
    let used = Capacities::default();
    println!(
        "{} of {} slots, {} of {} counters, {} bytes of rows",
        image.slots.iter().count(),
        used.slots,
        image.counters.iter().count(),
        used.counters,
        bytes(image)
    );
    assert_eq!(node.state.lagging().len(), 0);
    assert_eq!(image.tables.iter().count(), SPLITS);
    assert_eq!(image.groups.iter().count(), VERSIONS);
    assert_eq!(image.backends.iter().count(), PODS);

    let began = Instant::now();
    let plan = node.follow(&[slice(3, PODS - 100)]);
    println!("pods of one version gone in {:?}", began.elapsed());
    let groups = |op: &&Op| matches!(op, Op::Put(Entry::Group(..)) | Op::Delete(Place::Group(_)));
    let ops: Vec<&Op> = plan.steps.iter().map(|step| &step.op).collect();
    assert_eq!(
        ops.iter().copied().filter(|op| groups(op)).count(),
        2,
        "one for another"
    );
    let backends = ops
        .iter()
        .filter(|op| matches!(op.place(), Some(Place::Backend(_))));
    assert_eq!(backends.count(), 6);
    let counters = ops
        .iter()
        .filter(|op| matches!(op.place(), Some(Place::Counter(_))));
    assert_eq!(
        counters.count(),
        2,
        "the group's own: no schedule starts over"
    );
}
