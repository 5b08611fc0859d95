//! Namespace: that it exists, and its labels.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;

use super::{BREAK_GLASS, OPT_OUT, Parsed, misread};
use crate::key::NamespaceKey;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub labels: BTreeMap<String, String>,
}

pub fn parse(key: &NamespaceKey, object: &Namespace) -> Parsed<Fact> {
    Parsed {
        fact: Some(Fact {
            labels: object.metadata.labels.clone().unwrap_or_default(),
        }),
        findings: misread(
            key.clone(),
            object.metadata.labels.as_ref(),
            &[OPT_OUT, BREAK_GLASS],
        ),
    }
}
