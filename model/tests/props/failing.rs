//! Writes that fail: what does not depend on them goes on, and later passes end where they should.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sluice_model::{
    caller::Caller,
    ids::Capacities,
    image::{Image, Place},
    key::{Family, Frontend},
    oracle::{self, Answer},
};

use crate::{
    config,
    world::{Ask, Event, Node, answers, events, survivors},
};

/// A sequence of chances that a case can replay.
struct Dice(u64);

impl Dice {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(n)
    }
}

/// Whether this was meant for somebody who asks for this. Addresses of nodes come and go by rows of
/// their own, so one that is late answers as those of other nodes do.
fn is_meant(meant: &[(Ask, Answer)], ask: &Ask, answer: &Answer) -> bool {
    let mut meant = meant.iter();
    meant.any(|(other, meant)| (other == ask || other.is_like(ask)) && meant == answer)
}

/// Each address answers as it was meant to at some time, if not now.
fn check(image: &Image, meant: &[Vec<(Ask, Answer)>]) {
    for (ask, answer) in answers(image) {
        let known = meant.iter().any(|meant| is_meant(meant, &ask, &answer));
        assert!(known, "{ask:?}: {answer:?} was never meant\n{image:#}");
    }
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn repeated_passes_converge(
        batches in prop::collection::vec(events(6), 1..6),
        seed in 1..u64::MAX,
        n in 2..20_u64,
    ) {
        let mut dice = Dice(seed);
        let mut node = Node::new();
        let mut all = Vec::new();
        // What each address has ever been meant to answer.
        let mut meant = vec![answers(&node.observed)];
        for batch in batches {
            for event in &batch {
                node.index.apply(event.change());
            }
            all.extend(batch);
            let mut ahead = node.clone();
            ahead.plan();
            meant.push(answers(ahead.state.image()));
            node.stumble(|| dice.one_in(n), |image, _| check(image, &meant));
        }
        let tries = (0..1000).find(|_| node.stumble(|| dice.one_in(n), |image, _| check(image, &meant)));
        prop_assert!(tries.is_some(), "still different: {:?}", node.state.unsettled());
        prop_assert_eq!(&node.observed, node.state.image());
        node.check_answers()?;
        let mut fresh = Node::new();
        fresh.follow(&survivors(&all));
        prop_assert_eq!(node.observed.symbolic(), fresh.observed.symbolic());
        let gone: Vec<Event> = survivors(&all).iter().map(|e| Event::Gone(e.subject())).collect();
        node.follow(&gone);
        prop_assert!(node.observed.is_empty(), "{:#}", node.observed);
    }

    #[test]
    fn a_failed_write_holds_back_only_what_needs_it(
        before in events(15),
        after in events(8),
        fails in any::<prop::sample::Index>(),
    ) {
        let mut node = Node::new();
        node.follow(&before);
        let old = answers(&node.observed);
        for event in &after {
            node.index.apply(event.change());
        }
        let mut sound = node.clone();
        let sound_plan = sound.pass();
        let steps = sound_plan.steps.len();
        if steps == 0 {
            return Ok(());
        }
        let new = answers(&sound.observed);
        let (mut at, fails) = (0, fails.index(steps));
        let about_a_place = matches!(
            sound_plan.steps[fails].op.place(),
            Some(Place::Node(_) | Place::Caller(_) | Place::Class(_))
        );
        node.stumble(
            || {
                at += 1;
                at == fails + 1
            },
            |_, _| {},
        );
        let lagging = node.state.lagging();
        let services = node.state.desired().services.iter();
        let behind: BTreeSet<_> = services
            .filter(|(key, _)| lagging.contains(key))
            .flat_map(|(_, service)| &service.ports)
            .flat_map(|port| &port.frontends)
            .collect();
        let is_behind = |ask: &Ask| {
            let Frontend { ip, port, protocol } = ask.frontend;
            let on_nodes = Frontend::on_every_node(Family::of(ip), port, protocol);
            behind.contains(&ask.frontend) || behind.contains(&on_nodes)
        };
        for (i, (ask, now)) in answers(&node.observed).into_iter().enumerate() {
            prop_assert!(is_meant(&old, &ask, &now) || is_meant(&new, &ask, &now));
            if about_a_place && ask.is_like(&ask) {
                continue;
            }
            // A frontend that could not be deleted is nobody's any more.
            let orphan = new[i].1 == Answer::Passed;
            prop_assert!(
                now == new[i].1 || is_behind(&ask) || orphan,
                "{:?} is behind and nobody says so", ask
            );
        }
    }

    #[test]
    fn a_service_without_room_is_refused_whole(
        batches in prop::collection::vec(events(8), 1..6),
        room in 2..24_u32,
        slots in 2..60_u32,
    ) {
        let capacities = Capacities {
            frontends: room / 2,
            nodes: room / 2,
            callers: room / 2,
            classes: room / 2,
            ports: room / 2 + 1,
            tables: room,
            slots,
            groups: room,
            backends: room,
            counters: room * 17,
        };
        let mut node = Node::with(capacities);
        let mut all = Vec::new();
        for batch in batches {
            node.follow(&batch);
            let rest = (0..20).find(|_| {
                let rests = !node.state.wants_pass();
                node.pass();
                rests
            });
            prop_assert!(rest.is_some(), "it never comes to rest");
            all.extend(batch);
            let image = &node.observed;
            prop_assert!(image.frontends.len() <= capacities.frontends as usize);
            prop_assert!(image.ports.end() <= capacities.ports);
            prop_assert!(image.tables.end() <= capacities.tables);
            prop_assert!(image.slots.end() <= capacities.slots);
            prop_assert!(image.groups.end() <= capacities.groups);
            prop_assert!(image.backends.end() <= capacities.backends);
            prop_assert!(image.counters.end() <= capacities.counters);
            let refused = node.state.lagging();
            for (key, service) in &node.state.desired().services {
                let ports = service.ports.iter().flat_map(|port| &port.frontends);
                for frontend in ports.filter(|_| !refused.contains(key)) {
                    let wanted = oracle::by_desired(node.state.desired(), Caller::HOST, *frontend);
                    let found = oracle::by_image(image, Caller::HOST, *frontend);
                    let found = found.map_err(|d| TestCaseError::fail(format!("{d:?}")))?;
                    prop_assert_eq!(wanted.check(&found), Ok(()));
                }
            }
            answers(image);
        }
        let gone: Vec<Event> = survivors(&all).iter().map(|e| Event::Gone(e.subject())).collect();
        node.follow(&gone);
        prop_assert!(node.observed.is_empty(), "{:#}", node.observed);
        prop_assert_eq!(node.state.findings().count(), 0);
    }
}
