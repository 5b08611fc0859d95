//! Bad splits, and who says what of them.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Who refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// The types in the CRD.
    Schema,
    /// The rules in the CRD.
    Cel,
    /// Only where there is one: without it the split is stored.
    Webhook,
}

pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) layer: Layer,
    /// The path of the field is part of it.
    pub(super) says: &'static str,
    spec: &'static str,
}

impl Row {
    /// The split's name: the words of what is wrong.
    pub(super) fn name(&self) -> String {
        self.what.replace(' ', "-")
    }

    pub(super) fn object(&self, namespace: &str) -> Result<Value> {
        let spec: Value = serde_json::from_str(self.spec).context(self.what)?;
        Ok(json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "TrafficSplit",
            "metadata": { "name": self.name(), "namespace": namespace },
            "spec": spec,
        }))
    }
}

pub(super) const TABLE: &[Row] = &[
    Row {
        // One that is left out is filled in by the webhook.
        what: "an empty service",
        layer: Layer::Schema,
        says: "spec.service: Invalid value: \"\"",
        spec: r#"{"service": "", "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "a service with a capital letter",
        layer: Layer::Schema,
        says: "spec.service: Invalid value: \"Checkout\"",
        spec: r#"{"service": "Checkout", "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "no versions",
        layer: Layer::Schema,
        says: "spec.versions: Required value",
        spec: r#"{"service": "other"}"#,
    },
    Row {
        what: "an empty list of versions",
        layer: Layer::Schema,
        says: "spec.versions: Invalid value",
        spec: r#"{"service": "other", "versions": []}"#,
    },
    Row {
        what: "seventeen versions",
        layer: Layer::Schema,
        says: "spec.versions: Too many: 17: must have at most 16 items",
        spec: r#"{"service": "other", "versions": [
            {"name": "a1", "service": "a", "weight": 1}, {"name": "a2", "service": "a", "weight": 1},
            {"name": "a3", "service": "a", "weight": 1}, {"name": "a4", "service": "a", "weight": 1},
            {"name": "a5", "service": "a", "weight": 1}, {"name": "a6", "service": "a", "weight": 1},
            {"name": "a7", "service": "a", "weight": 1}, {"name": "a8", "service": "a", "weight": 1},
            {"name": "a9", "service": "a", "weight": 1}, {"name": "a10", "service": "a", "weight": 1},
            {"name": "a11", "service": "a", "weight": 1}, {"name": "a12", "service": "a", "weight": 1},
            {"name": "a13", "service": "a", "weight": 1}, {"name": "a14", "service": "a", "weight": 1},
            {"name": "a15", "service": "a", "weight": 1}, {"name": "a16", "service": "a", "weight": 1},
            {"name": "a17", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "two versions of one name",
        layer: Layer::Schema,
        says: "spec.versions[1]: Duplicate value",
        spec: r#"{"service": "other", "versions": [
            {"name": "a", "service": "a", "weight": 1}, {"name": "a", "service": "b", "weight": 1}]}"#,
    },
    Row {
        what: "a weight below zero",
        layer: Layer::Schema,
        says: "spec.versions[0].weight: Invalid value: -1",
        spec: r#"{"service": "other", "versions": [{"name": "a", "service": "a", "weight": -1}]}"#,
    },
    Row {
        what: "a weight above a million",
        layer: Layer::Schema,
        says: "spec.versions[0].weight: Invalid value: 1000001",
        spec: r#"{"service": "other", "versions": [{"name": "a", "service": "a", "weight": 1000001}]}"#,
    },
    Row {
        what: "a version without a weight",
        layer: Layer::Schema,
        says: "spec.versions[0].weight: Required value",
        spec: r#"{"service": "other", "versions": [{"name": "a", "service": "a"}]}"#,
    },
    Row {
        what: "an unknown selection",
        layer: Layer::Schema,
        says: "spec.selection: Unsupported value: \"Fair\"",
        spec: r#"{"service": "other", "selection": "Fair", "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "an unknown field",
        layer: Layer::Schema,
        says: "unknown field \"spec.colour\"",
        spec: r#"{"service": "other", "colour": "red", "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "a port twice",
        layer: Layer::Schema,
        says: "spec.ports[1]: Duplicate value: \"tcp\"",
        spec: r#"{"service": "other", "ports": ["tcp", "tcp"], "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "no weight above zero",
        layer: Layer::Cel,
        says: "spec: Invalid value: at least one version needs a weight above 0",
        spec: r#"{"service": "other", "versions": [
            {"name": "a", "service": "a", "weight": 0}, {"name": "b", "service": "b", "weight": 0}]}"#,
    },
    Row {
        what: "a version by service and by pods",
        layer: Layer::Cel,
        says: "spec.versions[0]: Invalid value: a version has either `service` or `pods`",
        spec: r#"{"service": "other", "versions": [
            {"name": "a", "service": "a", "pods": {"matchLabels": {"version": "a"}}, "weight": 1}]}"#,
    },
    Row {
        what: "a version by nothing",
        layer: Layer::Cel,
        says: "spec.versions[1]: Invalid value: a version has either `service` or `pods`",
        spec: r#"{"service": "other", "versions": [
            {"name": "a", "service": "a", "weight": 1}, {"name": "b", "weight": 1}]}"#,
    },
    Row {
        what: "the service of another split",
        layer: Layer::Webhook,
        says: "spec.service: TrafficSplit ",
        spec: r#"{"service": "checkout", "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "a port of another split",
        layer: Layer::Webhook,
        says: "spec.ports: TrafficSplit ",
        spec: r#"{"service": "checkout", "ports": ["tcp"], "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
    Row {
        what: "the number of a port of another split",
        layer: Layer::Webhook,
        says: "spec.ports: TrafficSplit ",
        spec: r#"{"service": "checkout", "ports": ["80"], "versions": [{"name": "a", "service": "a", "weight": 1}]}"#,
    },
];
