//! The texts for people, from answers that an agent gave (`recorded/`).

use std::{collections::BTreeSet, time::Duration};

use insta::assert_snapshot;
use serde::Deserialize;
use serde_json::json;
use sluice_cli::{
    answer::{
        choices::Choices,
        explanation::Answers,
        policy::{Balancing, Grant, Policy, Redirect},
        report::{List, Report},
        split::Split,
        status::Status,
    },
    output::Look,
    verbs::{
        explain,
        get::{self, Detail},
        status,
        watch::{self, Counted, Measured, Seen},
    },
};
use sluice_crds::conditions::Reason;

macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!("recorded/", $name, ".json")))
            .expect("an answer that was recorded is read")
    };
}

macro_rules! explained {
    ($name:literal, $target:literal) => {{
        let answers: Answers = recorded!($name);
        let target = $target.parse().expect("the target is one");
        explain::text(&answers, target, Look::Plain)
    }};
}

/// The splits in an answer of `/debug/status`.
#[derive(Deserialize)]
struct Splits {
    splits: Vec<Split>,
}

#[test]
fn a_split_explains_itself() {
    assert_snapshot!(explained!("explain-split", "127.0.66.1:80"));
}

#[test]
fn a_caller_is_told_whose_weights_hold() {
    let mut answers: Answers = recorded!("explain-split");
    let target = "127.0.66.1:80".parse().expect("the target is one");
    let texts = [Some("beta".to_owned()), None].map(|class| {
        for rule in answers
            .answers
            .iter_mut()
            .flat_map(|answer| &mut answer.rule)
        {
            rule.classes = vec!["qa".to_owned(), "beta".to_owned()];
            rule.class.clone_from(&class);
        }
        explain::text(&answers, target, Look::Plain)
    });
    assert_snapshot!(texts.join("---\n"));
}

#[test]
fn every_port_of_an_address_is_explained_and_an_unknown_pod_is_noted() {
    assert_snapshot!(explained!("explain-partly-refused", "127.0.66.9"));
}

#[test]
fn endpoints_that_terminate_are_named_so() {
    assert_snapshot!(explained!("explain-terminating", "fd00:66::5"));
}

#[test]
fn many_backends_are_counted() {
    assert_snapshot!(explained!("explain-many-backends", "127.0.66.5"));
}

#[test]
fn a_foreign_address_is_left_alone() {
    assert_snapshot!(explained!("explain-foreign-address", "10.9.9.9"));
}

#[test]
fn a_foreign_port_is_left_alone() {
    assert_snapshot!(explained!("explain-foreign-port", "10.9.9.9:90"));
}

#[test]
fn a_difference_comes_first() {
    let text = explained!("explain-difference", "10.96.0.10:80");
    assert!(text.starts_with("DIFFERENCE"), "{text}");
    assert_snapshot!(text);
}

#[test]
fn splits_have_a_row_per_version() {
    let Splits { splits } = recorded!("status-troubled");
    assert_snapshot!(get::all(&splits, None, Look::Plain, Detail::Short));
}

#[test]
fn a_terminal_gets_lines() {
    let Splits { splits } = recorded!("status-troubled");
    assert_snapshot!(get::all(&splits, None, Look::Terminal, Detail::Short));
}

#[test]
fn no_split_is_said_so() {
    assert_eq!(
        get::all(&[], None, Look::Plain, Detail::Short),
        "There is no TrafficSplit.\n"
    );
    assert_eq!(
        get::all(&[], Some("shop"), Look::Plain, Detail::Short),
        "There is no TrafficSplit in namespace shop (-A looks at all of them).\n"
    );
}

#[test]
fn one_split_shows_its_conditions() {
    let Splits { splits } = recorded!("status-troubled");
    let texts: Vec<_> = splits
        .iter()
        .map(|split| get::one(split, Look::Plain))
        .collect();
    assert_snapshot!(texts.join("---\n"));
}

#[test]
fn a_watch_shows_what_was_chosen_since() {
    let List { items }: List<Split> = recorded!("api-splits");
    let split = items.iter().find(|split| split.name == "shop/checkout");
    let split = split.expect("it was recorded");
    let counted = |choices: serde_json::Value| {
        let choices: Vec<Choices> = serde_json::from_value(choices).expect("choices are read");
        Counted::of("shop/checkout", &choices)
    };
    let choice = |class: Option<&str>, version: &str, chosen: u64| {
        json!({"split": "shop/checkout", "service": "shop/checkout", "port": 80, "protocol": "TCP",
            "family": "IPv4", "class": class, "version": version, "chosen": chosen})
    };
    let mut other = choice(None, "stable", 7_000);
    other["split"] = "find/search".into();
    let before = Seen::from([
        (
            "node-1".to_owned(),
            Ok(counted(json!([choice(None, "stable", 100)]))),
        ),
        (
            "node-2".to_owned(),
            Ok(counted(json!([choice(None, "stable", 5_000)]))),
        ),
        ("node-3".to_owned(), Ok(counted(json!([])))),
    ]);
    let now = Seen::from([
        // Two ports, two families: they add up.
        (
            "node-1".to_owned(),
            Ok(counted(json!([
                choice(None, "stable", 600),
                choice(None, "stable", 400),
                choice(None, "canary", 100),
                choice(Some("qa"), "canary", 30),
                other,
            ]))),
        ),
        // It began to count anew.
        (
            "node-2".to_owned(),
            Ok(counted(json!([choice(None, "stable", 10)]))),
        ),
        ("node-3".to_owned(), Err("nothing listens there".to_owned())),
    ]);
    let measured = Measured::between(&before, &now, Duration::from_millis(2_000));
    assert_eq!(measured.nodes, 1);
    assert_snapshot!(
        [
            watch::table(split, &before, None, Look::Plain),
            watch::table(split, &now, Some(&measured), Look::Plain),
            format!("{:#}\n", watch::document(split, &now, Some(&measured))),
        ]
        .join("---\n")
    );
}

#[test]
fn a_node_that_is_well_is_short() {
    let answer: Status = recorded!("status-ready");
    assert_snapshot!(status::of_node(&answer, Look::Plain));
}

#[test]
fn a_node_with_troubles_names_files_and_objects() {
    let answer: Status = recorded!("status-troubled");
    assert_snapshot!(status::of_node(&answer, Look::Plain));
}

#[test]
fn a_node_that_is_not_ready_says_why() {
    let mut answer: Status = recorded!("status-ready");
    answer.ready = false;
    answer.not_ready_because = Some("the self-test has not run yet".to_owned());
    answer.lagging = vec!["shop/checkout".to_owned()];
    assert_snapshot!(status::of_node(&answer, Look::Plain));
}

#[test]
fn a_watch_that_is_behind_is_named_with_its_time() {
    let mut answer: Status = recorded!("status-ready");
    answer.input = serde_json::from_value(json!({"view": "Partial", "problems": [
        {"watch": "EndpointSlice", "since": "2026-11-21T04:00:00Z", "text": "connection refused"},
        {"watch": "TrafficSplit", "text": "forbidden"},
    ]}))
    .expect("an input is read");
    assert_snapshot!(status::of_node(&answer, Look::Plain));
}

#[test]
fn splits_of_the_api_say_how_many_nodes_have_them() {
    let List { items }: List<Split> = recorded!("api-splits");
    let forms = [Detail::Short, Detail::Wide];
    let texts = forms.map(|detail| get::all(&items, None, Look::Plain, detail));
    assert_snapshot!(texts.join("---\n"));
}

#[test]
fn a_split_of_the_api_says_which_generation_was_observed_and_what_each_node_has() {
    let List { items }: List<Split> = recorded!("api-splits");
    let reports: List<Report> = recorded!("api-reports");
    let texts: Vec<_> = items
        .iter()
        .map(|split| {
            let nodes = get::nodes(split, &reports.items, Look::Plain);
            format!("{}{nodes}", get::one(split, Look::Plain))
        })
        .collect();
    assert_snapshot!(texts.join("---\n"));
}

/// The table of all, and each by itself.
fn shown<T>(items: &[T], all: fn(&[T], Look) -> String, one: fn(&T, Look) -> String) -> String {
    let each = items.iter().map(|item| one(item, Look::Plain));
    let all = all(items, Look::Plain);
    [all]
        .into_iter()
        .chain(each)
        .collect::<Vec<_>>()
        .join("---\n")
}

#[test]
fn redirects_say_from_where_to_where() {
    let List { items }: List<Policy<Redirect>> = recorded!("api-redirects");
    assert_snapshot!(shown(&items, get::redirects, get::redirect));
}

#[test]
fn balancing_policies_have_a_row_per_group() {
    let List { items }: List<Policy<Balancing>> = recorded!("api-balancings");
    assert_snapshot!(shown(&items, get::balancings, get::balancing));
}

#[test]
fn grants_say_who_may_claim_what() {
    let List { items }: List<Policy<Grant>> = recorded!("api-grants");
    assert_snapshot!(shown(&items, get::grants, get::grant));
}

#[test]
fn reports_say_what_each_node_achieved() {
    let List { items }: List<Report> = recorded!("api-reports");
    assert_snapshot!(shown(&items, get::reports, get::report));
}

#[test]
fn a_report_is_believed_only_where_a_ready_pod_stands_behind_it() {
    let reports: List<Report> = recorded!("api-reports");
    let pods = [("node-1", true), ("node-2", false), ("node-4", true)];
    let pods = pods.map(|(node, ready)| (node.to_owned(), ready));
    let nodes = status::join(&reports.items, &pods);
    let well: Vec<_> = nodes.iter().map(status::Node::is_well).collect();
    assert_eq!(well, [true, false, false, false]);
    assert_snapshot!(status::of_nodes(&nodes, Look::Plain));
    assert_eq!(
        status::of_nodes(&[], Look::Plain),
        "No node has an agent, and none has reported.\n"
    );
}

/// The enum itself says which reasons there are, when it is given one that is none.
#[test]
fn troubleshooting_has_every_reason_and_no_other() {
    let complaint = serde_json::from_str::<Reason>("\"none\"")
        .unwrap_err()
        .to_string();
    let known: BTreeSet<&str> = complaint.split('`').skip(3).step_by(2).collect();
    assert!(known.contains("NodeFailed"), "{complaint}");
    let page = include_str!("../../docs/troubleshooting.md");
    let (_, table) = page
        .split_once("## By reason")
        .expect("the page has the table");
    let (table, _) = table.split_once("\n## ").expect("another part follows");
    let explained: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(explained, known);
}
