//! Which pods, nodes or namespaces are meant: Kubernetes' selectors, bounded.
//!
//! An empty selector (`{}`) means every one, as everywhere in Kubernetes; what an absent one means,
//! its field says. The lists and maps inside are absent or have something in them, so nothing else
//! can be empty, and nothing is lost when an object is written and read again.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{LABEL_KEY_RULE, LABEL_KEYS, LABEL_KEYS_RULE, LABEL_VALUE};

/// The largest number of labels that can be asked for.
pub const MAX_LABELS: usize = 16;
/// The largest number of expressions.
pub const MAX_EXPRESSIONS: usize = 8;
/// The largest number of values in one expression.
pub const MAX_VALUES: usize = 16;

/// What is said of an expression whose operator and values do not fit.
pub const VALUES_FIT: &str = "In and NotIn need `values`; Exists and DoesNotExist have none";

/// All objects that have the labels and for which the expressions hold. `{}` means every one.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels that the object has, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "BTreeMap<String, String>",
        extend(
            "minProperties" = 1,
            "maxProperties" = MAX_LABELS,
            "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
        )
    )]
    #[x_kube(validation = Rule::new(LABEL_KEYS_RULE).message(LABEL_KEYS))]
    pub match_labels: Option<BTreeMap<String, String>>,

    /// Expressions that hold for the object's labels, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Vec<Requirement>",
        length(min = 1, max = MAX_EXPRESSIONS),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub match_expressions: Option<Vec<Requirement>>,
}

/// An expression about one label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.values) == (self.operator in ['In', 'NotIn'])")
        .message(VALUES_FIT)
)]
pub struct Requirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = Rule::new(LABEL_KEY_RULE).message(LABEL_KEYS))]
    pub key: String,

    /// In and NotIn compare with `values`; Exists and DoesNotExist ask for the key alone.
    pub operator: Operator,

    /// The values that the label is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Vec<String>",
        length(min = 1, max = MAX_VALUES),
        inner(length(max = 63), regex(pattern = LABEL_VALUE)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Option<Vec<String>>,
}

/// How a label is compared.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Operator {
    /// Its value is one of those.
    In,
    /// It is absent, or its value is none of those.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}
