//! Compiling depends on the objects alone, and on nothing that happened on the way.

use proptest::prelude::*;
use sluice_model::{change::Change, compile, index::Index, key::Kind};

use crate::{
    config,
    world::{Event, Node, events, index_of, relisted, survivors},
};

fn compile_all(index: &Index) -> String {
    let snapshot = index.snapshot().expect("everything is listed");
    let findings: Vec<_> = index.findings().collect();
    format!("{:#?}\n{findings:#?}", compile::all(snapshot))
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn the_order_of_changes_does_not_matter(
        (events, shuffled) in events(30).prop_flat_map(|events| {
            let survivors = survivors(&events);
            (Just(events), Just(survivors).prop_shuffle())
        })
    ) {
        prop_assert_eq!(compile_all(&index_of(&events)), compile_all(&index_of(&shuffled)));
    }

    #[test]
    fn a_relist_gives_what_the_events_gave(events in events(30), missed in any::<u64>()) {
        let survivors = survivors(&events);
        let mut index = index_of(&[]);
        for (i, event) in events.iter().enumerate() {
            if missed >> (i % 64) & 1 == 0 {
                index.apply(event.change());
            }
        }
        for event in &survivors {
            index.apply(event.change());
        }
        for change in relisted(&survivors) {
            index.apply(change);
        }
        prop_assert_eq!(compile_all(&index), compile_all(&index_of(&events)));
    }

    #[test]
    fn compiling_what_changed_is_compiling_everything(
        batches in prop::collection::vec(events(6), 1..8)
    ) {
        let mut node = Node::new();
        for batch in &batches {
            node.follow(batch);
            let snapshot = node.index.snapshot().expect("everything is listed");
            let all = compile::all(snapshot);
            let services = all.iter().filter_map(|(k, c)| Some((k.clone(), c.service.clone()?)));
            prop_assert_eq!(&node.state.desired().services, &services.collect());
            let mut found: Vec<_> = node.state.findings().collect();
            let mut wanted: Vec<_> = all.into_values().flat_map(|c| c.findings).collect();
            found.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn equal_facts_are_no_work(events in events(20)) {
        let mut node = Node::new();
        node.follow(&events);
        for event in survivors(&events) {
            node.index.apply(event.change());
        }
        prop_assert!(node.index.take_dirty().is_empty());
    }

    #[test]
    fn nothing_is_planned_before_every_input_has_listed(events in events(10), last in 0..6_usize) {
        let mut index = Index::awaiting(Kind::ALL);
        for event in &events {
            index.apply(event.change());
        }
        let survivors = survivors(&events);
        let mut state = sluice_model::pass::State::new(Default::default());
        let mut lists = relisted(&survivors);
        let missing = lists.remove(last);
        for list in lists {
            index.apply(list);
        }
        prop_assert!(state.pass(&mut index, &Default::default()).is_none());
        index.apply(missing);
        prop_assert!(state.pass(&mut index, &Default::default()).is_some());
    }

    #[test]
    fn any_json_is_an_object_or_a_sentence(manifest in json(), kind in 0..6_usize) {
        let (version, kind) = [
            ("v1", "Service"),
            ("discovery.k8s.io/v1", "EndpointSlice"),
            ("sluice.dev/v1alpha1", "TrafficSplit"),
            ("v1", "Pod"),
            ("v1", "Node"),
            ("v1", "Namespace"),
        ][kind];
        let mut manifest = manifest;
        if let Some(object) = manifest.as_object_mut() {
            object.insert("apiVersion".to_owned(), version.into());
            object.insert("kind".to_owned(), kind.into());
        }
        if let Ok(Change::Set(object)) = sluice_model::facts::parse(manifest) {
            let mut index = index_of(&[]);
            index.apply(Change::Set(object));
            compile_all(&index);
        }
    }

    #[test]
    fn damaged_manifests_never_panic(
        events in events(6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), json()), 1..6),
    ) {
        let mut index = index_of(&[]);
        for event in events {
            let Event::Set(mut manifest) = event else { continue };
            for (place, value) in &damage {
                let pointers = pointers(&manifest);
                if let Some(target) = manifest.pointer_mut(place.get::<String>(&pointers)) {
                    *target = value.clone();
                }
            }
            if let Ok(change) = sluice_model::facts::parse(manifest) {
                index.apply(change);
            }
        }
        compile_all(&index);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        Just("None".to_owned()),
        Just("10.96.0.1".to_owned()),
        Just("::ffff:10.0.0.1".to_owned()),
        Just("0.0.0.0".to_owned()),
        Just("SCTP".to_owned()),
        "[a-z/.]{0,8}",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1..70_000_i32).prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    let field = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "spec",
        "ports",
        "clusterIPs",
        "versions",
        "service",
        "weight",
        "endpoints",
        "addresses",
        "labels",
        "status",
        "type",
        "port",
        "protocol",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(field.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn pointers(value: &serde_json::Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let children: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        serde_json::Value::Object(map) => map
            .iter()
            .map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        found.extend(
            pointers(child)
                .into_iter()
                .map(|rest| format!("/{name}{rest}")),
        );
    }
    found
}
