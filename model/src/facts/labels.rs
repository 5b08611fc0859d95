//! Labels that pods need, all of them: what a Service's selector can say.

use std::{collections::BTreeMap, sync::Arc};

use sluice_crds::{pattern::LABEL_KEYS, selector::MAX_LABELS};

use super::faults::Faults;
use crate::key::{is_label_key, is_label_value};

pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

pub(super) fn parse(labels: &BTreeMap<String, String>, field: &str, faults: &mut Faults) -> Labels {
    faults.count(field, labels.len(), 1, MAX_LABELS);
    if let Some(key) = labels.keys().find(|key| !is_label_key(key)) {
        faults.note(field, not_a_key(key));
    }
    for (key, value) in labels.iter().filter(|(_, value)| !is_label_value(value)) {
        faults.note(format!("{field}.{key}"), not_a_value(value));
    }
    let labels = labels.iter();
    let labels = labels.map(|(key, value)| (key.as_str().into(), value.as_str().into()));
    labels.collect()
}

pub(super) fn not_a_key(key: &str) -> String {
    format!("{key:?} is none: {LABEL_KEYS}")
}

pub(super) fn not_a_value(value: &str) -> String {
    format!("{value:?} is not a value of a label")
}
