//! What one change costs in memory at a Service of 20,000 endpoints: counted as bytes, which are the same on a machine
//! under load.
//!
//! Whoever copies whole lists of backends at each event needs memory by the number of events. Here what is kept is
//! what there is, and what a change needs on the way is bounded by the Service that it is about.

#![allow(clippy::expect_used, reason = "a test may")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use serde_json::json;
use sluice_model::{
    change::Change, facts, ids::Capacities, image::Image, index::Index, key::Kind, pass::State,
    plan::Outcome,
};

const SLICES: u32 = 200;
const ENDPOINTS: u32 = 100;
const CHANGES: u32 = 100;

struct Counting;

static MOVED: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is the system's own; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOVED.fetch_add(layout.size(), Relaxed);
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(live, Relaxed);
        // SAFETY: by this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: by this function's own contract.
        unsafe { System.dealloc(block, layout) }
    }
}

fn parse(manifest: serde_json::Value) -> Change {
    facts::parse(manifest).expect("a known kind")
}

/// A slice of the Service in which one endpoint is ready or not.
fn slice(number: u32, ready: bool) -> Change {
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|i| {
            let [_, a, b, c] = (number * ENDPOINTS + i).to_be_bytes();
            let ready = ready || i != 0;
            json!({"addresses": [format!("10.{a}.{b}.{c}")], "conditions": {"ready": ready}})
        })
        .collect();
    parse(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("web-{number}"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}],
    }))
}

struct Node {
    index: Index,
    state: State,
    observed: Image,
}

impl Node {
    fn with_one_service() -> Self {
        let mut index = Index::awaiting([Kind::Service]);
        index.apply(parse(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]},
        })));
        for number in 0..SLICES {
            index.apply(slice(number, true));
        }
        let present = index.services().keys().cloned().map(Into::into).collect();
        index.apply(Change::Relisted(Kind::Service, present));
        Self {
            index,
            state: State::new(Capacities::default()),
            observed: Image::default(),
        }
    }

    /// Says how many writes it took.
    fn pass(&mut self) -> usize {
        let pass = self.state.pass(&mut self.index, &self.observed);
        let pass = pass.expect("everything is listed");
        let outcome: Outcome<()> = pass.plan.run(&mut self.observed, |_| Ok(()));
        self.state.finish(&outcome);
        outcome.done
    }
}

fn live() -> usize {
    LIVE.load(Relaxed)
}

#[test]
fn one_change_of_a_large_service_keeps_nothing_and_moves_a_bounded_part() {
    let empty = live();
    let mut node = Node::with_one_service();
    node.pass();
    // Once each way, so that what grows with the first changes has grown.
    for ready in [false, true] {
        node.index.apply(slice(0, ready));
        node.pass();
    }
    let whole = live() - empty;
    let (mut moved, mut above, mut writes) = (0, 0, 0);
    for change in 0..CHANGES {
        let number = (change / 2 * 7) % SLICES;
        let change = slice(number, change % 2 == 1);
        let (before, start) = (live(), MOVED.load(Relaxed));
        MOST.store(before, Relaxed);
        node.index.apply(change);
        writes = writes.max(node.pass());
        moved = moved.max(MOVED.load(Relaxed) - start);
        above = above.max(MOST.load(Relaxed) - before);
    }
    let kept = (live() - empty).abs_diff(whole);

    // Events that come faster than passes.
    for change in 0..CHANGES {
        node.index.apply(slice(change % SLICES, change % 3 == 0));
    }
    let waiting = (live() - empty).abs_diff(whole);
    println!(
        "{} endpoints are {whole} bytes; a change moves {moved} at most, {above} at once, in {writes} writes; {CHANGES} changes leave {kept}, {CHANGES} that wait {waiting}",
        SLICES * ENDPOINTS
    );
    assert!(kept <= whole / 50, "{kept} of {whole} bytes were kept");
    assert!(waiting <= whole / 20, "{waiting} of {whole} bytes wait");
    assert!(above <= whole, "{above} at once beside {whole}");
    assert!(moved <= 2 * whole, "{moved} were moved beside {whole}");
}
