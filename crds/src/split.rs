//! `TrafficSplit`: one Service's connections, shared out over versions by weight.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::Reason;

/// The largest weight of a version.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// The largest number of versions in one split.
pub const MAX_VERSIONS: usize = 16;
/// The largest number of ports that a split can list.
pub const MAX_PORTS: usize = 100;
/// The largest number of labels that a version can ask of its pods.
pub const MAX_LABELS: usize = 16;

/// What is said of a split whose versions get nothing.
pub const NO_WEIGHT: &str = "at least one version needs a weight above 0";
/// What is said of a version with two kinds of backends, or with none.
pub const ONE_SOURCE: &str = "a version has either `service` or `pods`";
/// Only a rule can look at the keys of a map.
const LABEL_KEY_RULE: &str = "self.all(key, !format.qualifiedName().validate(key).hasValue())";
/// What is said of keys of labels.
pub const LABEL_KEYS: &str =
    "each key is a label's, such as `version` or `app.kubernetes.io/version`";

/// What is to become of the connections.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "TrafficSplit",
    doc = "Shares the connections to one Service out over versions, by weight.",
    namespaced,
    shortname = "split",
    category = "sluice",
    status = "TrafficSplitStatus",
    selectable = ".spec.service",
    printcolumn = r#"{"name": "Service", "type": "string", "jsonPath": ".spec.service"}"#,
    printcolumn = r#"{"name": "Versions", "type": "string", "jsonPath": ".spec.versions[*].name"}"#,
    printcolumn = r#"{"name": "Shares", "type": "string", "jsonPath": ".status.versions[*].share"}"#,
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.versions.exists(v, v.weight > 0)").message(NO_WEIGHT)
)]
pub struct TrafficSplitSpec {
    /// Name of the Service whose connections are split. It is in the split's own namespace and has
    /// a cluster IP. The admission webhook fills in the split's own name where it is left out.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub service: String,

    /// The Service's ports that are split, by name or by number. All of them when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub ports: Vec<String>,

    /// The versions, keyed by name.
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub versions: Vec<Version>,

    /// How a connection gets its version.
    #[serde(default)]
    pub selection: Selection,

    /// What becomes of the share of a version that has no usable endpoint.
    #[serde(default)]
    pub when_unavailable: WhenUnavailable,
}

/// A named group of backends with one weight: a Service's endpoints or a part of the split's own.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) != has(self.pods)").message(ONE_SOURCE))]
pub struct Version {
    /// Name of the version, unique in the split.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// Name of the Service, in the split's namespace, that lends its endpoints to the version. It
    /// may be headless, and it may be the split's own Service. Splits on it do not matter here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub service: Option<String>,

    /// The version's pods among those of the split's own Service, instead of a Service of its own.
    /// Agents cannot do this yet: a split with such a version is kept and reported as not
    /// programmed, with the reason FeatureMissing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Pods")]
    pub pods: Option<Pods>,

    /// The version's weight in relation to the other versions, however many endpoints it has.
    #[schemars(range(max = 1_000_000))]
    pub weight: u32,
}

/// A part of a Service's pods.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Labels that a pod needs besides those that the Service asks for. All of them.
    #[schemars(extend(
        "minProperties" = 1,
        "maxProperties" = MAX_LABELS,
        "additionalProperties" = {
            "type": "string",
            "maxLength": 63,
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        },
    ))]
    #[x_kube(validation = Rule::new(LABEL_KEY_RULE).message(LABEL_KEYS))]
    pub match_labels: BTreeMap<String, String>,
}

/// How a connection gets its version.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Selection {
    /// In turn, by a schedule that is never more than one connection away from the exact share.
    #[default]
    Sequence,
    /// At random.
    Random,
}

/// What becomes of the share of a version that has no usable endpoint.
#[derive(
    JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum WhenUnavailable {
    /// The other versions get it, in proportion to their weights.
    #[default]
    Redistribute,
    /// It is refused: 80 % weight to nothing refuses 80 % of the connections.
    Reject,
}

/// What was observed of a TrafficSplit.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSplitStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What each version was asked to get and what it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub versions: Vec<VersionStatus>,

    /// How far the nodes are with the generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesStatus>,

    /// Accepted, ResolvedRefs, Programmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// What one version was asked to get and what it gets.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Name of the version.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The weight that was asked for.
    pub weight: u32,
    /// The weight that acts.
    pub effective: u32,
    /// The part of the connections that goes to the version, or is refused in its name.
    #[schemars(length(max = 16))]
    pub share: String,
    /// The number of its ready endpoints.
    pub ready: u32,
    /// Why `effective` is what it is.
    #[schemars(with = "String", length(max = 64))]
    pub reason: Reason,
}

/// How far the nodes are with a generation.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodesStatus {
    /// Nodes that should have the generation.
    pub desired: u32,
    /// Nodes that reported it as written to the kernel.
    pub programmed: u32,
    /// Nodes that reported that they could not write it.
    pub failed: u32,
    /// The oldest generation that a node's kernel still holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_generation: Option<i64>,
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    use super::TrafficSplit;
    use crate::NodeReport;

    #[test]
    fn the_schemas_bound_every_list_and_every_string() {
        let mut open = Vec::new();
        for crd in [TrafficSplit::crd(), NodeReport::crd()] {
            let crd = serde_json::to_value(crd).expect("a CRD is JSON");
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            for part in ["spec", "status"] {
                unbounded(part, &schema[part], &mut open);
            }
        }
        // Conditions are Kubernetes' own type.
        open.retain(|path| !path.starts_with("status.conditions[]"));
        assert_eq!(open, Vec::<String>::new());
    }

    #[test]
    fn every_field_explains_itself() {
        let mut silent = Vec::new();
        for crd in [TrafficSplit::crd(), NodeReport::crd()] {
            let crd = serde_json::to_value(crd).expect("a CRD is JSON");
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            undescribed("spec", &schema["spec"], &mut silent);
            undescribed("status", &schema["status"], &mut silent);
        }
        assert_eq!(silent, Vec::<String>::new());
    }

    #[test]
    fn the_rule_about_weights_is_part_of_the_schema() {
        let crd = serde_json::to_value(TrafficSplit::crd()).expect("a CRD is JSON");
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(
            spec["x-kubernetes-validations"][0]["rule"],
            "self.versions.exists(v, v.weight > 0)"
        );
        let versions = &spec["properties"]["versions"];
        assert_eq!(versions["x-kubernetes-list-type"], "map");
        assert_eq!(versions["maxItems"], super::MAX_VERSIONS);
        assert_eq!(
            versions["items"]["properties"]["weight"]["maximum"].as_f64(),
            Some(f64::from(super::MAX_WEIGHT))
        );
        assert_eq!(spec["properties"]["ports"]["maxItems"], super::MAX_PORTS);
        assert_eq!(spec["properties"]["selection"]["default"], "Sequence");
    }

    fn unbounded(path: &str, schema: &serde_json::Value, open: &mut Vec<String>) {
        match schema["type"].as_str() {
            Some("array") => {
                if schema["maxItems"].is_null() {
                    open.push(path.to_owned());
                }
                unbounded(&format!("{path}[]"), &schema["items"], open);
            }
            Some("string") if schema["maxLength"].is_null() && schema["enum"].is_null() => {
                open.push(path.to_owned());
            }
            _ => {}
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(&format!("{path}.{name}"), property, open);
        }
    }

    fn undescribed(path: &str, schema: &serde_json::Value, silent: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].is_null() {
                silent.push(path.clone());
            }
            undescribed(&path, property, silent);
            undescribed(&format!("{path}[]"), &property["items"], silent);
        }
    }
}
