//! What is refused, what is warned of, and what of an old fault is let pass.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/judging.rs"]
mod judging;

use judging::{judge, service, shop, split};
use serde_json::{Value, json};
use sluice_model::{change::Change, facts, index::Index, key::Kind};

fn versions(versions: impl Into<Value>) -> Value {
    json!({ "versions": versions.into() })
}

#[test]
fn a_sound_split_passes_without_a_word() {
    let none: [&str; 0] = [];
    assert_eq!(judge(&shop([]), None, &split("a", 1, json!({}))), none);
}

#[test]
fn what_is_in_conflict_may_shrink_and_not_grow() {
    let on = |name, day, port: &str| split(name, day, json!({"ports": [port]}));
    let index = shop([
        on("first", 1, "http"),
        on("loser", 2, "http"),
        on("second", 3, "admin"),
    ]);
    let loser = on("loser", 2, "http");
    for ports in [json!([]), json!(["http", "admin"])] {
        let said = judge(
            &index,
            Some(&loser),
            &split("loser", 2, json!({ "ports": ports })),
        );
        assert!(said.len() == 1 && said[0].starts_with("deny "), "{said:?}");
    }
    let said = judge(
        &index,
        Some(&loser),
        &split(
            "loser",
            2,
            json!({"ports": ["http"], "selection": "Random"}),
        ),
    );
    assert!(said.len() == 1 && said[0].starts_with("warn "), "{said:?}");
}

#[test]
fn a_command_that_is_none_is_denied_unless_it_was_there() {
    let commanded = |text: &str| {
        let mut split = split("a", 1, json!({}));
        split["metadata"]["annotations"] = json!({"sluice.dev/command": text});
        split
    };
    let none: [&str; 0] = [];
    assert_eq!(judge(&shop([]), None, &commanded("promote@2.4.1")), none);
    let said = judge(&shop([]), None, &commanded("go"));
    let field = "deny metadata.annotations[sluice.dev/command]: a command is one of promote";
    assert!(said.len() == 1 && said[0].starts_with(field), "{said:?}");
    let said = judge(&shop([]), Some(&commanded("go")), &commanded("go"));
    assert!(said.len() == 1 && said[0].starts_with("warn "), "{said:?}");
    let said = judge(&shop([]), Some(&commanded("promote@1")), &commanded("go"));
    assert!(said.len() == 1 && said[0].starts_with("deny "), "{said:?}");
}

#[test]
fn what_the_parser_refuses_is_denied_with_its_path() {
    let table = [
        (
            json!({"service": "1a"}),
            "spec.service: \"1a\" is not a name of a Service",
        ),
        (
            json!({"ports": [""]}),
            "spec.ports[0]: \"\" is neither a port's name nor a number",
        ),
        (
            json!({"ports": ["http", "http"]}),
            "spec.ports[1]: \"http\" is there twice",
        ),
        (
            versions(json!([])),
            "spec.versions: there are 0; 1 to 16 can be",
        ),
        (
            versions(json!([{"name": "a", "service": "v1", "weight": 0}])),
            "spec.versions: at least one version needs a weight above 0",
        ),
        (
            versions(json!([{"name": "a", "service": "v1", "weight": 1_000_001}])),
            "spec.versions[0].weight: 1000001 is above 1000000",
        ),
        (
            versions(json!([
                {"name": "a", "service": "v1", "weight": 1},
                {"name": "a", "service": "v2", "weight": 1},
            ])),
            "spec.versions[1].name: \"a\" is there twice",
        ),
        (
            versions(json!([{"name": "a", "service": "v1", "weight": 1,
                             "pods": {"matchLabels": {"a": "b"}}}])),
            "spec.versions[0]: a version has either `service` or `pods`",
        ),
        (
            versions(json!([{"name": "a", "weight": 1}])),
            "spec.versions[0]: a version has either `service` or `pods`",
        ),
        (
            versions(json!([{"name": "a", "weight": 1, "pods": {"matchLabels": {"a b": "c"}}}])),
            "spec.versions[0].pods.matchLabels: \"a b\" is none: each key is a label's, such as \
             `version` or `app.kubernetes.io/version`",
        ),
    ];
    for (change, text) in table {
        let said = judge(&shop([]), None, &split("a", 1, change.clone()));
        assert_eq!(said, [format!("deny {text}")], "{change}");
    }
    let said = judge(&shop([]), None, &split("a", 1, versions(json!("none"))));
    assert!(said.len() == 1 && said[0].starts_with("deny "), "{said:?}");
}

#[test]
fn what_may_still_come_is_a_warning() {
    let table = [
        (
            json!({"service": "missing"}),
            "spec.service: there is no Service shop/missing",
        ),
        (
            json!({"service": "v1"}),
            "spec.service: Service shop/v1 is headless: callers address its pods",
        ),
        (
            json!({"ports": ["grpc"]}),
            "spec.ports[0]: Service shop/checkout has no port \"grpc\"",
        ),
        (
            versions(json!([{"name": "a", "service": "v3", "weight": 1}])),
            "spec.versions[0].service: there is no Service shop/v3",
        ),
        (
            versions(json!([{"name": "a", "weight": 1, "pods": {"matchLabels": {"a": "b"}}}])),
            "spec.versions[0].pods: the split's Service has no selector, so it has no pods of its own; \
             give it one, or name a Service for the version",
        ),
    ];
    for (change, text) in table {
        let said = judge(&shop([]), None, &split("a", 1, change.clone()));
        assert_eq!(said, [format!("warn {text}")], "{change}");
    }
}

/// Groups that the operator is still to make are nobody's to be warned of.
#[test]
fn pods_that_no_service_can_select_are_warned_of() {
    let mut checkout = service("checkout", "10.96.0.10");
    checkout["spec"]["selector"] = json!({"app": "checkout", "track": "live"});
    let index = shop([checkout]);
    let by = |labels: Value| {
        let version = json!({"name": "a", "weight": 1, "pods": {"matchLabels": labels}});
        judge(&index, None, &split("a", 1, versions(json!([version]))))
    };
    let none: [&str; 0] = [];
    assert_eq!(by(json!({"version": "v1"})), none);
    assert_eq!(
        by(json!({"track": "canary"})),
        [
            "warn spec.versions[0].pods: the split's Service selects track=live and this version \
             track=canary: no pod is both; take the label out of one of them"
        ]
    );
}

#[test]
fn a_port_that_a_stored_split_has_is_not_given_out_again() {
    let denial = |field| {
        format!(
            "deny spec.{field}: TrafficSplit shop/b comes first and has the same ports; change that \
             one, or name ports that it does not have"
        )
    };
    let stored = shop([split("b", 5, json!({"ports": ["http"]}))]);
    let none: [&str; 0] = [];
    // Whatever the time and the name of the new one.
    for (name, day) in [("a", 1), ("a", 5), ("c", 9)] {
        assert_eq!(
            judge(&stored, None, &split(name, day, json!({}))),
            [denial("service")]
        );
        let by_number = split(name, day, json!({"ports": ["80"]}));
        assert_eq!(judge(&stored, None, &by_number), [denial("ports")]);
        let beside = split(name, day, json!({"ports": ["admin"]}));
        assert_eq!(judge(&stored, None, &beside), none);
    }
    // The stored one itself, and what is created again before its end was seen.
    assert_eq!(judge(&stored, None, &split("b", 6, json!({}))), none);
}

#[test]
fn an_update_may_keep_what_it_has_and_take_no_more() {
    let all = split("a", 1, json!({}));
    let admin = split("a", 1, json!({"ports": ["admin"]}));
    let other = split("a", 1, json!({"service": "v1"}));
    let weights = split(
        "a",
        1,
        versions(json!([{"name": "x", "service": "v1", "weight": 7}])),
    );
    let conflict = "spec.service: TrafficSplit shop/b comes first and has the same ports; change \
                    that one, or name ports that it does not have";
    let deny = vec![format!("deny {conflict}")];
    let warn = vec![format!("warn {conflict}")];

    // `a` is the older one: it has what it claims, whatever `b` asks for besides.
    let stored = shop([all.clone(), split("b", 2, json!({"ports": ["http"]}))]);
    let none: [&str; 0] = [];
    assert_eq!(judge(&stored, Some(&all), &weights), none);
    assert_eq!(judge(&stored, Some(&all), &admin), none);
    // An old split takes no port from a younger one by growing, or by moving to its Service.
    let stored = shop([admin.clone(), split("b", 2, json!({"ports": ["http"]}))]);
    assert_eq!(judge(&stored, Some(&admin), &all), deny);
    let stored = shop([other.clone(), split("b", 2, json!({"ports": ["http"]}))]);
    assert_eq!(judge(&stored, Some(&other), &all)[0], deny[0]);
    // The loser of a race can be changed: it is not worse than before.
    let stored = shop([split("b", 1, json!({})), split("a", 2, json!({}))]);
    let loser = split("a", 2, json!({}));
    let changed = split("a", 2, json!({"selection": "Random"}));
    assert_eq!(judge(&stored, Some(&loser), &changed), warn);
}

#[test]
fn an_old_fault_does_not_keep_an_object_from_being_changed() {
    let bad = |weight| {
        let mut split = split("a", 1, json!({"ports": [""]}));
        split["spec"]["versions"][0]["weight"] = weight;
        split
    };
    let fault = "spec.ports[0]: \"\" is neither a port's name nor a number";
    let index = shop([]);
    let mut labelled = bad(json!(90));
    labelled["metadata"]["labels"] = json!({"team": "shop"});
    assert_eq!(
        judge(&index, Some(&bad(json!(90))), &labelled),
        [format!("warn {fault}")]
    );
    // A second fault is one too many.
    assert_eq!(
        judge(&index, Some(&bad(json!(90))), &bad(json!(1_000_001))),
        [
            "deny spec.versions[0].weight: 1000001 is above 1000000".to_owned(),
            format!("warn {fault}"),
        ]
    );
    // What is on its way out is left alone.
    let mut leaving = bad(json!(1_000_001));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    let none: [&str; 0] = [];
    assert_eq!(judge(&index, Some(&bad(json!(90))), &leaving), none);
}

#[test]
fn without_the_cluster_an_object_is_judged_by_itself() {
    let index = Index::awaiting([Kind::Service]);
    let none: [&str; 0] = [];
    assert_eq!(
        judge(&index, None, &split("a", 1, json!({"service": "missing"}))),
        none
    );
    assert_eq!(
        judge(&index, None, &split("a", 1, json!({"service": "1"}))).len(),
        1
    );
}

#[test]
fn a_split_without_a_name_is_judged_like_others() {
    let mut split = split("a", 1, json!({"service": "1a"}));
    split["metadata"] = json!({"generateName": "a-", "namespace": "shop"});
    let said = judge(&shop([]), None, &split);
    assert_eq!(
        said,
        ["deny spec.service: \"1a\" is not a name of a Service"]
    );
}

/// The index takes exactly what is admitted; what is in conflict apart, which only the index knows.
#[test]
fn what_is_admitted_is_what_the_index_can_use() {
    let changes = [
        json!({}),
        json!({"service": "1a"}),
        json!({"ports": ["http", "http"]}),
        json!({"selection": "Sideways"}),
        versions(json!([])),
        versions(json!([{"name": "a", "weight": 1}])),
        versions(json!([{"name": "a", "weight": 1, "pods": {"matchLabels": {}}}])),
        versions(json!([{"name": "a", "weight": 1, "pods": {"matchLabels": {"a": "b"}}}])),
        versions(json!([{"name": "a", "service": "v1", "weight": -1}])),
        versions(json!(7)),
    ];
    for change in changes {
        let object = split("a", 1, change);
        let usable = match facts::parse(object.clone()) {
            Ok(Change::Set(object)) => object.is_usable(),
            _ => false,
        };
        let said = judge(&shop([]), None, &object);
        let admitted = !said.iter().any(|line| line.starts_with("deny"));
        assert_eq!(usable, admitted, "{object}: {said:?}");
    }
}
