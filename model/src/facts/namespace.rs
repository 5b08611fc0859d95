//! Namespace: that it exists. Selectors will look at its labels.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;

use super::Parsed;
use crate::key::NamespaceKey;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub labels: BTreeMap<String, String>,
}

pub fn parse(_: &NamespaceKey, object: &Namespace) -> Parsed<Fact> {
    Parsed {
        fact: Some(Fact {
            labels: object.metadata.labels.clone().unwrap_or_default(),
        }),
        findings: Vec::new(),
    }
}
