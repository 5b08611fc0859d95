//! What the rules say of a split in a small cluster.

use kube::core::DynamicObject;
use serde_json::{Value, json};
use sluice_model::{facts, index::Index, key::Kind};
use sluice_webhook::{review, rules};

/// A cluster with these Services and splits in the namespace `shop`.
fn cluster(objects: impl IntoIterator<Item = Value>) -> Index {
    let mut index = Index::awaiting([]);
    for object in objects {
        index.apply(facts::parse(object).expect("an object of ours"));
    }
    index
}

pub(crate) fn service(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": ip, "ports": [
            {"name": "http", "port": 80}, {"name": "admin", "port": 81},
        ]},
    })
}

pub(crate) fn shop(more: impl IntoIterator<Item = Value>) -> Index {
    let services = [
        service("checkout", "10.96.0.10"),
        service("v1", "None"),
        service("v2", "None"),
    ];
    cluster(services.into_iter().chain(more))
}

/// Created on this day of a month, with this in its spec instead of the usual.
pub(crate) fn split(name: &str, day: u8, change: Value) -> Value {
    let mut split = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {
            "name": name, "namespace": "shop",
            "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z"),
        },
        "spec": {"service": "checkout", "versions": [
            {"name": "stable", "service": "v1", "weight": 90},
            {"name": "canary", "service": "v2", "weight": 10},
        ]},
    });
    let Value::Object(change) = change else {
        panic!("fields of the spec")
    };
    for (field, value) in change {
        split["spec"][field] = value;
    }
    split
}

pub(crate) fn judge(index: &Index, old: Option<&Value>, new: &Value) -> Vec<String> {
    let read = |value: &Value| -> DynamicObject {
        serde_json::from_value(value.clone()).expect("an object")
    };
    let old = old.map(read);
    let verdict = rules::judge(
        Kind::TrafficSplit,
        old.as_ref(),
        &read(new),
        index.snapshot(),
    );
    let denials = verdict
        .denials
        .iter()
        .map(|f| format!("deny {}", review::text(f)));
    let warnings = verdict
        .warnings
        .iter()
        .map(|f| format!("warn {}", review::text(f)));
    denials.chain(warnings).collect()
}
