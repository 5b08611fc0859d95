//! The documentation names what there is.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fs;

use kube::CustomResourceExt;
use serde_json::Value;
use sluice_crds::TrafficSplit;
use sluice_webhook::metrics::Metrics;

fn documentation() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/admission.md");
    fs::read_to_string(path).expect("docs/admission.md")
}

#[test]
fn each_rule_of_the_schema_is_in_the_table() {
    let text = documentation();
    let crd = serde_json::to_value(TrafficSplit::crd()).expect("a CRD is JSON");
    let mut messages = Vec::new();
    collect(&crd, &mut messages);
    assert!(!messages.is_empty());
    for message in messages {
        assert!(
            text.contains(&message),
            "docs/admission.md lacks {message:?}"
        );
    }
}

#[test]
fn each_metric_is_in_the_table() {
    let text = documentation();
    let metrics = Metrics::default().encode().expect("metrics");
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE sluice_webhook_"));
    for name in names.filter_map(|rest| rest.split(' ').next()) {
        assert!(
            text.contains(&format!("`{name}")),
            "docs/admission.md lacks {name}"
        );
    }
}

fn collect(value: &Value, messages: &mut Vec<String>) {
    let rules = value["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
    messages.extend(rules.filter_map(|rule| Some(rule["message"].as_str()?.to_owned())));
    match value {
        Value::Object(fields) => fields.values().for_each(|value| collect(value, messages)),
        Value::Array(items) => items.iter().for_each(|value| collect(value, messages)),
        _ => {}
    }
}
