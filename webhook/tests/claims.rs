//! Redirects, balancing policies and grants: what is refused, and what of it Git may apply later.

#![allow(clippy::expect_used, reason = "a test may")]

use kube::core::DynamicObject;
use serde_json::{Value, json};
use sluice_model::{facts, index::Index, key::Kind};
use sluice_webhook::{review, rules};

/// A shop that was granted a range, a Service of it and one elsewhere, and a node.
fn cluster(more: impl IntoIterator<Item = Value>) -> Index {
    let service = |namespace: &str, ip: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "cache", "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]},
        })
    };
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "shop"}}}),
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        }),
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FrontendGrant", "metadata": {"name": "shop"},
            "spec": {"namespaces": {"matchLabels": {"team": "shop"}}, "addresses": ["192.0.2.0/24", "10.96.0.0/16"]},
        }),
        service("shop", "10.96.0.10"),
        service("bank", "10.96.0.20"),
    ];
    let mut index = Index::awaiting([]);
    for object in objects.into_iter().chain(more) {
        index.apply(facts::parse(object).expect("an object of ours"));
    }
    index
}

fn redirect(name: &str, day: u8, frontend: &Value) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "LocalRedirectPolicy",
        "metadata": {
            "name": name, "namespace": "shop",
            "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z"),
        },
        "spec": {
            "frontend": frontend,
            "backend": {
                "pods": {"matchLabels": {"app": "cache"}},
                "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 8081}],
            },
        },
    })
}

fn service(ports: &[&str]) -> Value {
    json!({"service": {"name": "cache", "ports": ports}})
}

fn address(ip: &str, port: u16) -> Value {
    json!({"address": {"ip": ip, "ports": [{"name": "http", "port": port}]}})
}

/// The denials, each with its field.
fn denials(index: &Index, old: Option<&Value>, new: &Value) -> Vec<String> {
    let object = |value: &Value| -> DynamicObject {
        serde_json::from_value(value.clone()).expect("an object")
    };
    let old = old.map(object);
    let verdict = rules::judge(
        Kind::LocalRedirectPolicy,
        old.as_ref(),
        &object(new),
        index.snapshot(),
    );
    verdict.denials.iter().map(review::text).collect()
}

#[test]
fn what_a_stored_policy_claims_is_not_given_out_again() {
    let index = cluster([
        redirect("first", 2, &service(&["http"])),
        redirect("at", 2, &address("192.0.2.7", 443)),
    ]);
    let none: [&str; 0] = [];
    for (frontend, winner) in [
        (service(&[]), "shop/first"),
        (service(&["http"]), "shop/first"),
        (service(&["80"]), "shop/first"),
        (address("10.96.0.10", 80), "shop/first"),
        (address("192.0.2.7", 443), "shop/at"),
    ] {
        // Who is stored counts, not who is older.
        let said = denials(&index, None, &redirect("other", 1, &frontend));
        assert!(
            said.len() == 1 && said[0].contains(winner),
            "{frontend}: {said:?}"
        );
    }
    for frontend in [
        service(&["admin"]),
        address("10.96.0.10", 81),
        address("192.0.2.7", 444),
        address("192.0.2.8", 443),
    ] {
        assert_eq!(
            denials(&index, None, &redirect("other", 1, &frontend)),
            none,
            "{frontend}"
        );
    }
}

#[test]
fn an_update_keeps_what_it_has_and_takes_no_more() {
    let index = cluster([
        redirect("first", 1, &service(&["http"])),
        redirect("loser", 2, &service(&[])),
        redirect("second", 3, &service(&["admin"])),
    ]);
    let none: [&str; 0] = [];
    let loser = redirect("loser", 2, &service(&[]));
    // It was in conflict before, so it may be, and it may claim less.
    assert_eq!(denials(&index, Some(&loser), &loser), none);
    let second = redirect("second", 3, &service(&["admin"]));
    assert_eq!(denials(&index, Some(&second), &second), none);
    let more = denials(&index, Some(&second), &redirect("second", 3, &service(&[])));
    assert!(
        more.len() == 1 && more[0].contains("shop/first"),
        "{more:?}"
    );
}

#[test]
fn what_is_in_conflict_may_shrink_and_not_grow() {
    // Stored while the webhook was away: the loser is older than `second`, and would win over it later.
    let index = cluster([
        redirect("first", 1, &service(&["http"])),
        redirect("loser", 2, &service(&["http"])),
        redirect("second", 3, &service(&["admin"])),
    ]);
    let none: [&str; 0] = [];
    let loser = redirect("loser", 2, &service(&["http"]));
    for ports in [&[][..], &["http", "admin"]] {
        let said = denials(&index, Some(&loser), &redirect("loser", 2, &service(ports)));
        assert!(
            said.len() == 1 && said[0].contains("shop/first"),
            "{said:?}"
        );
    }
    let mut other = loser.clone();
    other["spec"]["fallback"] = json!("Reject");
    assert_eq!(denials(&index, Some(&loser), &other), none);
    let elsewhere = redirect("loser", 2, &address("192.0.2.9", 443));
    assert_eq!(denials(&index, Some(&loser), &elsewhere), none);
}

#[test]
fn addresses_of_others_are_refused_and_a_missing_grant_is_waited_for() {
    let index = cluster([]);
    for ip in [
        "192.0.2.1",
        "10.96.0.20",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
    ] {
        let said = denials(&index, None, &redirect("a", 1, &address(ip, 443)));
        assert!(
            said.len() == 1 && said[0].starts_with("spec.frontend.address.ip: "),
            "{ip}: {said:?}"
        );
    }
    let none: [&str; 0] = [];
    for ip in ["192.0.2.9", "10.96.0.10", "198.51.100.1"] {
        assert_eq!(
            denials(&index, None, &redirect("a", 1, &address(ip, 443))),
            none,
            "{ip}"
        );
    }
}

#[test]
fn a_grant_that_does_not_parse_is_refused_unless_it_was_so_before() {
    let grant = |range: &str| -> DynamicObject {
        let grant = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FrontendGrant", "metadata": {"name": "a"},
            "spec": {"namespaces": {"matchLabels": {"team": "a"}}, "addresses": [range]},
        });
        serde_json::from_value(grant).expect("an object")
    };
    let judge = |old: Option<&DynamicObject>, new: &DynamicObject| {
        rules::judge(Kind::FrontendGrant, old, new, None).is_denied()
    };
    assert!(!judge(None, &grant("192.0.2.0/24")));
    assert!(judge(None, &grant("192.0.2.1/24")));
    assert!(!judge(Some(&grant("192.0.2.1/24")), &grant("192.0.2.1/24")));
    assert!(judge(Some(&grant("192.0.2.0/24")), &grant("192.0.2.1/24")));
}
