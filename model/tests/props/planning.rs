//! Lowering keeps what need not change, and plans never leave a frontend without an answer.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sluice_model::{
    image::{Entry, Image, Place},
    plan::{self, Op},
};
use sluice_node_abi::{keys::FrontendKey, slots};

use crate::{
    config,
    world::{Event, Node, answers, events, survivors},
};

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn the_maps_do_what_is_desired(batches in prop::collection::vec(events(8), 1..6)) {
        let mut node = Node::new();
        for batch in &batches {
            node.follow(batch);
            node.check_answers()?;
            prop_assert_eq!(&node.observed, node.state.image());
        }
    }

    #[test]
    fn small_steps_lead_to_the_same_image_as_one(events in events(20)) {
        let mut slow = Node::new();
        for event in &events {
            slow.follow(std::slice::from_ref(event));
        }
        let mut fast = Node::new();
        fast.follow(&survivors(&events));
        prop_assert_eq!(slow.observed.symbolic(), fast.observed.symbolic());
    }

    #[test]
    fn a_diff_to_itself_is_empty_and_a_diff_leads_there(
        before in events(15),
        after in events(10),
    ) {
        let mut node = Node::new();
        node.follow(&before);
        let a = node.observed.clone();
        prop_assert!(plan::diff(&a, &a).is_empty());
        let small = node.follow(&after);
        let b = node.observed.clone();
        prop_assert_eq!(&b, node.state.image());
        let mut moved = a.clone();
        let all = plan::diff(&a, &b);
        for step in &all.steps {
            step.op.apply(&mut moved);
        }
        prop_assert_eq!(&moved, &b);
        // What changed is all there is to do.
        prop_assert_eq!(small.to_string(), all.to_string());
    }

    #[test]
    fn after_every_step_each_address_answers_as_before_or_as_after(
        before in events(15),
        after in events(8),
    ) {
        let mut node = Node::new();
        node.follow(&before);
        let a = node.observed.clone();
        let old = answers(&a);
        let plan = node.follow(&after);
        let new = answers(&node.observed);
        let mut image = a;
        for step in &plan.steps {
            step.op.apply(&mut image);
            for (i, (ask, answer)) in answers(&image).into_iter().enumerate() {
                prop_assert!(
                    answer == old[i].1 || answer == new[i].1,
                    "{:?} after {:?}: {:?}\n{}", ask, step.op, answer, plan
                );
            }
        }
    }

    #[test]
    fn what_did_not_change_is_not_written(before in events(15), after in events(3)) {
        let mut node = Node::new();
        node.follow(&before);
        let (old_desired, old) = (node.state.desired().clone(), node.observed.clone());
        let plan = node.follow(&after);
        for (key, service) in &node.state.desired().services {
            if old_desired.services.get(key) != Some(service) {
                continue;
            }
            for frontend in service.ports.iter().flat_map(|port| &port.frontends) {
                let id = old.frontends[&frontend.key()].port;
                prop_assert_eq!(node.observed.frontends[&frontend.key()].port, id);
                prop_assert_eq!(node.observed.ports.get(id), old.ports.get(id));
                let touched = plan.steps.iter().find(|step| step.op.place() == Some(Place::Port(id)));
                prop_assert!(touched.is_none(), "{touched:?}");
            }
        }
        if old_desired == *node.state.desired() {
            prop_assert!(plan.is_empty(), "{}", plan);
        }
    }

    #[test]
    fn survivors_keep_their_ids_and_nothing_in_use_is_written_over(
        batches in prop::collection::vec(events(5), 2..8)
    ) {
        let mut node = Node::new();
        for batch in &batches {
            let old = node.observed.clone();
            let plan = node.follow(batch);
            let (before, after) = (backend_ids(&old), backend_ids(&node.observed));
            for (content, id) in &after {
                if let Some(known) = before.get(content) {
                    // A backend may leave and come back within a pass; then its number is new.
                    let kept = known == id || known.1 < id.1;
                    prop_assert!(kept, "{content:?}: {known:?} became {id:?}");
                }
            }
            for step in &plan.steps {
                if let Op::Put(entry) = &step.op {
                    prop_assert!(is_free(&old, entry), "{entry:?} over\n{old:#}");
                }
            }
        }
    }

    #[test]
    fn no_generation_is_issued_twice(batches in prop::collection::vec(events(6), 2..8)) {
        let mut node = Node::new();
        let mut all = Vec::new();
        let mut issued = 0;
        for (i, batch) in batches.iter().enumerate() {
            all.extend(batch.iter().cloned());
            if i % 3 == 2 {
                node = Node::restarted(&node.observed, &survivors(&all));
            }
            let plan = node.follow(batch);
            let mut new: Vec<u32> = plan
                .steps
                .iter()
                .filter_map(|step| match &step.op {
                    Op::Put(Entry::Backend(_, backend)) => Some(backend.generation),
                    Op::Put(Entry::Port(_, port)) => Some(port.generation()),
                    _ => None,
                })
                .collect();
            new.sort_unstable();
            for generation in new {
                prop_assert!(generation > issued, "{generation} after {issued}\n{plan}");
                issued = generation;
            }
            prop_assert_eq!(node.observed.generation, issued);
        }
    }

    #[test]
    fn after_everything_is_gone_the_maps_are_empty(batches in prop::collection::vec(events(8), 1..5)) {
        let mut node = Node::new();
        let mut all: Vec<Event> = Vec::new();
        for batch in batches {
            node.follow(&batch);
            all.extend(batch);
        }
        let gone: Vec<Event> = survivors(&all).iter().map(|e| Event::Gone(e.subject())).collect();
        node.follow(&gone);
        prop_assert!(node.observed.is_empty(), "{:#}", node.observed);
        prop_assert_eq!(node.state.findings().count(), 0);
    }
}

type Content = (sluice_node_abi::keys::Address, [u8; 2], u8);

fn backend_ids(image: &Image) -> BTreeMap<Content, (u32, u32)> {
    let backends = image.backends.iter();
    backends
        .map(|(id, b)| ((b.address, b.port, b.protocol), (id, b.generation)))
        .collect()
}

/// Only a port's word, a frontend and whose node an address is are ever changed in place.
fn is_free(old: &Image, entry: &Entry) -> bool {
    match entry {
        Entry::Generation(_) | Entry::Port(..) | Entry::Frontend(..) | Entry::Node(..) => true,
        Entry::Caller(..) | Entry::Class(..) => true,
        Entry::Counter(index) => !old.counters.contains(*index),
        Entry::Backend(id, _) => !old.backends.contains(*id),
        Entry::Group(id, _) => !old.groups.contains(*id),
        Entry::Table(id, _) => !old.tables.contains(*id),
        Entry::Slots(offset, run) => {
            let run = *offset..*offset + u32::try_from(run.len()).expect("a short run");
            let tables = old
                .tables
                .iter()
                .map(|(_, t)| t.own_slots())
                .map(|(offset, length)| offset..offset + length);
            let groups = old
                .groups
                .iter()
                .map(|(_, g)| g.offset..g.offset + g.length);
            tables
                .chain(groups)
                .all(|used| used.end <= run.start || run.end <= used.start)
        }
    }
}

#[test]
fn a_change_of_weights_is_one_write_among_what_callers_read() {
    let service = |n: u8, ip: &str| {
        Event::Set(serde_json::json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": format!("s{n}"), "namespace": "shop"},
            "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]},
        }))
    };
    let slice = |n: u8| {
        Event::Set(serde_json::json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("s{n}-0"), "namespace": "shop",
                "labels": {"kubernetes.io/service-name": format!("s{n}")},
            },
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [format!("10.0.0.{n}")]}, {"addresses": [format!("10.0.1.{n}")]}],
        }))
    };
    let split = |weights: [u32; 2]| {
        Event::Set(serde_json::json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": "t", "namespace": "shop"},
            "spec": {"service": "s0", "versions": [
                {"name": "stable", "service": "s1", "weight": weights[0]},
                {"name": "canary", "service": "s2", "weight": weights[1]},
            ]},
        }))
    };
    let mut node = Node::new();
    node.follow(&[
        service(0, "10.96.0.1"),
        service(1, "10.96.0.2"),
        service(2, "10.96.0.3"),
        slice(1),
        slice(2),
        split([90, 10]),
    ]);
    let before = node.observed.clone();
    let plan = node.follow(&[split([50, 50])]);
    // A table's counters come and go together.
    let mut ops: Vec<&Op> = plan.steps.iter().map(|step| &step.op).collect();
    let all = ops.len();
    let is_counter = |op: &Op| matches!(op.place(), Some(Place::Counter(_)));
    ops.dedup_by(|a, b| is_counter(a) && is_counter(b));
    assert_eq!(all - ops.len(), 2 * slots::VERSIONS as usize);
    assert!(
        matches!(
            ops[..],
            [
                Op::Put(Entry::Generation(_)),
                Op::Put(Entry::Counter(_)),
                Op::Put(Entry::Slots(..)),
                Op::Put(Entry::Table(..)),
                Op::Put(Entry::Port(..)),
                Op::Barrier,
                Op::Delete(Place::Table(_)),
                Op::Delete(Place::Slots(..)),
                Op::Delete(Place::Counter(_)),
            ]
        ),
        "{plan}"
    );
    let root = |image: &Image| {
        let key: FrontendKey = crate::world::asks()[0].frontend.key();
        image
            .tables
            .get(image.ports.get(image.frontends[&key].port).root())
    };
    assert_ne!(root(&before).counter, root(&node.observed).counter);

    // A pod that comes or goes does not start the schedule over.
    let mut more = slice(1);
    if let Event::Set(manifest) = &mut more {
        let endpoints = manifest["endpoints"].as_array_mut().expect("a list");
        endpoints.push(serde_json::json!({"addresses": ["10.0.2.1"]}));
    }
    let before = root(&node.observed);
    node.follow(&[more]);
    assert_ne!(before, root(&node.observed));
    assert_eq!(before.counter, root(&node.observed).counter);
}
