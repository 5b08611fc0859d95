//! Reviews as an API server sends them.

use serde_json::{Value, json};
use sluice_model::facts;
use sluice_webhook::store::Store;

/// What a test says is its own; the rest is as it mostly is.
pub(crate) fn review(operation: &str, object: &Value) -> Value {
    let kind = json!({"group": "sluice.dev", "version": "v1alpha1", "kind": "TrafficSplit"});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "4c9a8d74-9cb7-44dd-b98e-09fd62def2f4",
            "kind": kind, "requestKind": kind,
            "resource": {"group": "sluice.dev", "version": "v1alpha1", "resource": "trafficsplits"},
            "name": object["metadata"]["name"].as_str().unwrap_or_default(),
            "namespace": "shop",
            "operation": operation,
            "userInfo": {"username": "robot", "groups": ["system:authenticated"]},
            "object": object, "oldObject": null, "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}

pub(crate) fn split(spec: &Value) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": "checkout", "namespace": "shop", "generation": 1},
        "spec": spec,
    })
}

pub(crate) fn spec() -> Value {
    json!({"service": "checkout", "versions": [
        {"name": "stable", "service": "v1", "weight": 90},
        {"name": "canary", "service": "v2", "weight": 10},
    ]})
}

/// What the store of a test has seen: three Services, and a split on the port `admin`.
pub(crate) fn store() -> Store {
    let service = |name: &str, ip: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": ip, "ports": [
                {"name": "http", "port": 80}, {"name": "admin", "port": 81},
            ]},
        })
    };
    let other = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {
            "name": "other", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "service": "checkout", "ports": ["admin"],
            "versions": [{"name": "only", "service": "v1", "weight": 1}],
        },
    });
    let objects = [
        service("checkout", "10.96.0.10"),
        service("v1", "None"),
        service("v2", "None"),
        other,
    ];
    let store = Store::default();
    store.apply(objects.map(|object| facts::parse(object).expect("an object of ours")));
    store.apply(relisted());
    store
}

/// That there is nothing else.
fn relisted() -> Vec<sluice_model::change::Change> {
    use sluice_model::{
        change::Change,
        key::{Kind, Name, Subject},
    };
    let subjects = |kind, names: &[&str]| {
        let names = names.iter().filter_map(|name| Name::parse("shop", name));
        Change::Relisted(kind, names.map(|name| Subject { kind, name }).collect())
    };
    let mut all = vec![
        subjects(Kind::Service, &["checkout", "v1", "v2"]),
        subjects(Kind::TrafficSplit, &["other"]),
    ];
    let others = [
        Kind::Namespace,
        Kind::Node,
        Kind::LocalRedirectPolicy,
        Kind::BalancingPolicy,
        Kind::FrontendGrant,
    ];
    all.extend(others.map(|kind| subjects(kind, &[])));
    all
}
