//! A process that ends anywhere and starts again beside what the maps hold.

use proptest::prelude::*;
use serde_json::json;
use sluice_model::image::{Entry, Image};
use sluice_node_abi::{
    keys::FrontendKey,
    values::{Backend, Frontend, Group, NodeAddress, Port, Table, mode},
};

use crate::{
    config,
    world::{Event, Node, answers, asks, events, survivors},
};

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn a_restart_anywhere_leads_to_the_same_image(
        before in events(15),
        after in events(8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut node = Node::new();
        node.follow(&before);
        for event in &after {
            node.index.apply(event.change());
        }
        let plan = node.plan();
        let mut observed = node.observed.clone();
        for step in plan.steps.iter().take(end.index(plan.steps.len() + 1)) {
            step.op.apply(&mut observed);
        }
        let all: Vec<_> = before.into_iter().chain(after).collect();
        let survivors = survivors(&all);
        let old = answers(&observed);
        let mut again = Node::restarted(&observed, &survivors);
        let plan = again.plan();
        let mut fresh = Node::new();
        fresh.follow(&survivors);
        let new = answers(&fresh.observed);
        let mut image = observed.clone();
        for step in &plan.steps {
            step.op.apply(&mut image);
            for (i, (ask, answer)) in answers(&image).into_iter().enumerate() {
                let known = answer == old[i].1 || new[i].1.check(&answer).is_ok();
                prop_assert!(known, "{:?} after {:?}: {:?}", ask, step.op, answer);
            }
        }
        again.pass();
        prop_assert_eq!(again.observed.symbolic(), fresh.observed.symbolic());
        again.check_answers()?;
        prop_assert!(again.pass().is_empty());
        prop_assert_eq!(&again.observed, again.state.image());
    }

    #[test]
    fn a_restart_without_changes_writes_nothing(batches in prop::collection::vec(events(8), 1..5)) {
        let mut node = Node::new();
        let mut all = Vec::new();
        for batch in batches {
            node.follow(&batch);
            all.extend(batch);
        }
        let mut again = Node::restarted(&node.observed, &survivors(&all));
        let plan = again.pass();
        prop_assert!(plan.is_empty(), "{}", plan);
        prop_assert_eq!(&again.observed, &node.observed);
    }

    #[test]
    fn flows_keep_their_backends_over_a_restart(before in events(15), after in events(5)) {
        let mut node = Node::new();
        node.follow(&before);
        let all: Vec<_> = before.into_iter().chain(after).collect();
        let mut again = Node::restarted(&node.observed, &survivors(&all));
        again.pass();
        for (id, old) in node.observed.backends.iter() {
            let wanted = again.observed.backends.iter().find(|(_, new)| {
                (new.address, new.port, new.protocol) == (old.address, old.port, old.protocol)
            });
            if let Some(found) = wanted {
                prop_assert_eq!(found, (id, old));
            }
        }
        for key in node.observed.frontends.keys() {
            let (old, new) = (node.observed.frontends.get(key), again.observed.frontends.get(key));
            if let (Some(old), Some(new)) = (old, new) {
                let after = &again.observed.frontends;
                let before = &node.observed.frontends;
                // A port that an address has left may have been replaced.
                let stays = |(key, was): (&FrontendKey, &Frontend)| {
                    let now = after.get(key).map(|now| now.port);
                    was.port != old.port || now == Some(new.port)
                };
                // Ports that became one keep the id of one of them.
                let kept = after.iter().any(|(key, now)| {
                    let was = before.get(key).is_some_and(|was| was.port == now.port);
                    was && (now.port == old.port || now.port == new.port)
                });
                let kept = kept || !before.iter().all(stays);
                prop_assert!(old.port == new.port || kept);
            }
        }
        let newest = again.observed.generation;
        prop_assert!(newest >= node.observed.generation);
    }

    #[test]
    fn damaged_maps_are_healed(
        events in events(20),
        damage in prop::collection::vec(damage(), 1..12),
        restart in any::<bool>(),
    ) {
        let mut node = Node::new();
        node.follow(&events);
        let wanted = node.observed.symbolic();
        for entry in &damage {
            node.observed.put(entry);
        }
        if restart {
            node = Node::restarted(&node.observed, &survivors(&events));
        } else {
            node.state.look_at_everything();
        }
        node.pass();
        prop_assert_eq!(node.observed.symbolic(), wanted);
        prop_assert_eq!(&node.observed, node.state.image());
        node.check_answers()?;
        prop_assert!(node.pass().is_empty());
    }
}

fn damage() -> impl Strategy<Value = Entry> {
    let id = || prop_oneof![0..12_u32, Just(u32::from(u16::MAX))];
    let wild = || prop_oneof![4 => 0..40_u32, 1 => Just(u32::MAX)];
    let frontend = prop::sample::select(asks()).prop_map(|ask| ask.frontend);
    let node = frontend.clone().prop_map(|front| front.key().address);
    prop_oneof![
        (id(), any::<u32>()).prop_map(|(id, generation)| {
            let address = sluice_node_abi::keys::address([10, 0, 0, 1].into());
            Entry::Backend(
                id,
                Backend {
                    address,
                    port: [0, 80],
                    protocol: 6,
                    reserved: 0,
                    generation,
                },
            )
        }),
        (0..80_u32, prop::collection::vec(wild(), 1..6))
            .prop_map(|(offset, run)| Entry::Slots(offset, run.into())),
        (id(), wild(), wild(), wild()).prop_map(|(id, offset, length, counter)| {
            Entry::Group(
                id,
                Group {
                    mode: 1,
                    offset,
                    length,
                    counter,
                },
            )
        }),
        (
            id(),
            wild(),
            wild(),
            wild(),
            wild(),
            (wild(), wild(), wild())
        )
            .prop_map(
                |(id, offset, length, counter, next, (group, members, member_count))| {
                    let table = Table {
                        mode: 1,
                        offset,
                        length,
                        counter,
                        group,
                        next,
                        members,
                        member_count,
                        ..Table::default()
                    };
                    Entry::Table(id, table)
                }
            ),
        (id(), wild(), 0..u32::MAX)
            .prop_map(|(id, root, generation)| { Entry::Port(id, Port::new(root, generation)) }),
        (frontend, id(), 0..2_u32).prop_map(|(front, port, flags)| {
            Entry::Frontend(front.key(), Frontend { port, flags })
        }),
        (node, 0..2_u32).prop_map(|(address, flags)| Entry::Node(address, NodeAddress { flags })),
        id().prop_map(Entry::Counter),
    ]
}

#[test]
fn an_image_that_was_only_read_marks_its_counters() {
    let mut image = Image::default();
    image.put(&Entry::Table(
        1,
        Table {
            mode: 1,
            offset: 0,
            length: 2,
            counter: 7,
            ..Table::default()
        },
    ));
    image.put(&Entry::Group(
        1,
        Group {
            mode: 1,
            offset: 2,
            length: 2,
            counter: 9,
        },
    ));
    image.mark_counters();
    assert!(image.counters.contains(7) && image.counters.contains(9));
}

/// As an agent with tables of another size may have left it, or damage.
#[test]
fn a_consistent_group_of_another_length_is_made_anew() {
    let web = |n: u8| {
        let meta = json!({
            "name": format!("s{n}"), "namespace": "shop",
            "annotations": {"sluice.dev/balancing": "Consistent"},
        });
        let ports = json!([{"name": "http", "port": 80}]);
        let spec = json!({"clusterIPs": [format!("10.96.0.{n}")], "ports": ports});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    };
    let slice = |n: u8| {
        let addresses = (1..=3).map(|i| json!({"addresses": [format!("10.0.{n}.{i}")]}));
        let meta = json!({
            "name": format!("s{n}-0"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": format!("s{n}")},
        });
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta,
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": addresses.collect::<Vec<_>>(),
        })
    };
    let objects = |n| [Event::Set(web(n)), Event::Set(slice(n))];
    let mut node = Node::new();
    node.follow(&objects(2));
    let groups = &mut node.observed.groups;
    let (id, mut group) = groups.iter().next().expect("a group");
    assert_eq!(group.mode, mode::CONSISTENT);
    let (end, rest) = (group.offset + 100, group.length - 100);
    group.length = 100;
    groups.set(id, group);
    node.observed.slots.clear(end, rest);

    // One that comes first finds room where the group would have ended.
    let both = [objects(1), objects(2)].concat();
    let mut again = Node::restarted(&node.observed, &both);
    again.pass();
    again.check_answers().expect("the answers of both");
    assert_eq!(&again.observed, again.state.image());
}
