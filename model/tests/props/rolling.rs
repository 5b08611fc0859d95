//! Rolling reports up: whatever came in whichever order, the answer is what the last reports say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::{collection::vec, option, prelude::*, sample::select};
use sluice_crds::conditions::Reason;
use sluice_model::{
    key::{Kind, Name, NodeKey, Subject},
    rollup::{Entry, Rollup, Standing},
};

use crate::config;

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Starts of machines; the first is one that nobody knows.
const BOOTS: [&str; 3] = ["", "1", "2"];
const SPLITS: [&str; 3] = ["x", "y", "z"];

type Report = BTreeMap<&'static str, Entry>;

#[derive(Clone, Debug)]
enum Step {
    /// Since when a node should; one that is gone should not.
    Should(&'static str, Option<&'static str>),
    Said(&'static str, &'static str, Report),
}

/// The same, without any memory but the last words.
#[derive(Default)]
struct Plain {
    nodes: BTreeMap<&'static str, &'static str>,
    reports: BTreeMap<&'static str, (&'static str, Report)>,
}

fn node(name: &str) -> NodeKey {
    NodeKey(Name::parse("", name).expect("a name"))
}

fn policy(name: &str) -> Subject {
    Subject {
        kind: Kind::TrafficSplit,
        name: Name::parse("shop", name).expect("a name"),
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let reasons = select(vec![
        Reason::Pending,
        Reason::ServiceNotFound,
        Reason::NodeFailed,
        Reason::CapacityExceeded,
    ]);
    (select(vec!["old", "new"]), 1..4_i64, option::of(reasons)).prop_map(
        |(uid, generation, reason)| Entry {
            uid: uid.into(),
            generation,
            outcome: reason.map_or(Ok(()), |reason| Err((reason, Arc::from("why")))),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let nodes = || select(NODES.to_vec());
    let said = vec((select(SPLITS.to_vec()), entry()), 0..3);
    let boot = || select(BOOTS.to_vec());
    prop_oneof![
        (nodes(), option::of(boot())).prop_map(|(node, should)| Step::Should(node, should)),
        (nodes(), boot(), said).prop_map(|(node, boot, said)| Step::Said(
            node,
            boot,
            said.into_iter().collect()
        )),
    ]
}

fn take(rollup: &mut Rollup, step: &Step) -> BTreeSet<Subject> {
    match step {
        Step::Should(name, should) => {
            rollup.set_node(node(name), should.map(Arc::from));
            SPLITS.map(policy).into()
        }
        Step::Said(name, boot, report) => {
            let said = report.iter();
            rollup.hear(
                &node(name),
                boot,
                said.map(|(split, entry)| (policy(split), entry.clone())),
            )
        }
    }
}

impl Plain {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Should(node, Some(boot)) => drop(self.nodes.insert(*node, *boot)),
            Step::Should(node, None) => drop(self.nodes.remove(node)),
            Step::Said(node, boot, report) => {
                self.reports.insert(*node, (*boot, report.clone()));
            }
        }
    }

    /// How many have programmed this, have failed, and have not said anything about it.
    fn count(&self, split: &str, uid: &str, generation: i64) -> [u32; 3] {
        let mut counts = [0; 3];
        for (node, boot) in &self.nodes {
            let report = self.reports.get(node);
            let report = report.filter(|(since, _)| boot.is_empty() || since == boot);
            let entry = report.and_then(|(_, report)| report.get(split));
            let current = entry
                .filter(|entry| (&*entry.uid, entry.generation) == (uid, generation))
                .map(|entry| entry.outcome.as_ref().map_err(|(reason, _)| *reason));
            counts[match current {
                Some(Ok(())) => 0,
                Some(Err(Reason::NodeFailed | Reason::CapacityExceeded)) => 1,
                Some(Err(_)) | None => 2,
            }] += 1;
        }
        counts
    }
}

fn standings(rollup: &Rollup) -> Vec<Standing> {
    let generations = 1..4;
    generations
        .flat_map(|generation| {
            SPLITS.map(|split| rollup.standing(&policy(split), "new", generation))
        })
        .collect()
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn the_answer_is_what_the_last_reports_say(steps in vec(step(), 0..40)) {
        let mut rollup = Rollup::default();
        let mut plain = Plain::default();
        for step in &steps {
            take(&mut rollup, step);
            plain.take(step);
        }
        for split in SPLITS {
            for generation in 1..4 {
                let standing = rollup.standing(&policy(split), "new", generation);
                let [programmed, failed, pending] = plain.count(split, "new", generation);
                let nodes = &standing.nodes;
                prop_assert_eq!(
                    (nodes.desired, nodes.programmed, nodes.failed),
                    (programmed + failed + pending, programmed, failed)
                );
                let everywhere = nodes.desired > 0 && programmed == nodes.desired;
                prop_assert_eq!(standing.obstacle().is_none(), everywhere);
                prop_assert_eq!(standing.pending.len() as u32, pending.min(3));
            }
        }
    }

    #[test]
    fn a_policy_that_is_not_named_as_changed_stands_as_before(steps in vec(step(), 1..40)) {
        let mut rollup = Rollup::default();
        for step in &steps {
            let before = standings(&rollup);
            let changed = take(&mut rollup, step);
            let policies = (0..3).flat_map(|_| SPLITS.map(policy));
            for ((before, after), policy) in before.iter().zip(standings(&rollup)).zip(policies) {
                prop_assert!(changed.contains(&policy) || *before == after, "{policy}");
            }
        }
    }

    #[test]
    fn what_was_said_twice_is_no_news(steps in vec(step(), 0..20), last in step()) {
        let mut rollup = Rollup::default();
        for step in steps.iter().chain([&last]) {
            take(&mut rollup, step);
        }
        if let Step::Said(..) = last {
            prop_assert_eq!(take(&mut rollup, &last), BTreeSet::new());
        }
    }
}

#[test]
fn a_text_names_a_few_nodes_and_says_how_many_more() {
    let obstacle = |programmed: &[&str], failed: &[&str]| {
        let mut rollup = Rollup::default();
        for name in NODES {
            rollup.set_node(node(name), Some("1".into()));
        }
        let entry = |outcome| Entry {
            uid: "new".into(),
            generation: 2,
            outcome,
        };
        for name in programmed {
            rollup.hear(&node(name), "1", [(policy("x"), entry(Ok(())))]);
        }
        for name in failed {
            let why = (Reason::CapacityExceeded, Arc::from("no room"));
            rollup.hear(&node(name), "1", [(policy("x"), entry(Err(why)))]);
        }
        let (reason, text) = rollup.standing(&policy("x"), "new", 2).obstacle()?;
        Some(format!("{}: {text}", reason.name()))
    };
    for (programmed, failed, expected) in [
        (&NODES[..], &[][..], None),
        (
            &["a", "c"],
            &[],
            Some("NodesPending: waiting for b, d, e (2 of 5 nodes have it)"),
        ),
        (
            &[],
            &[],
            Some("NodesPending: waiting for a, b, c and 2 more (0 of 5 nodes have it)"),
        ),
        (
            &["a"],
            &["c"],
            Some("NodeFailed: CapacityExceeded on node c: no room"),
        ),
        (
            &[],
            &NODES,
            Some("NodeFailed: CapacityExceeded on node a: no room; not on b, c and 2 more either"),
        ),
    ] {
        assert_eq!(obstacle(programmed, failed).as_deref(), expected);
    }
    let nowhere = Rollup::default().standing(&policy("x"), "new", 1);
    let (reason, text) = nowhere.obstacle().expect("nobody has it");
    assert_eq!(
        (reason, text.as_str()),
        (Reason::NodesPending, "no node should carry Sluice")
    );
}
