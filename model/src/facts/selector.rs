//! Selectors: which objects are meant, by their labels. An empty one means every object.

use std::{collections::BTreeMap, sync::Arc};

use sluice_crds::selector::{self as crds, MAX_EXPRESSIONS, MAX_VALUES, Operator, VALUES_FIT};

use super::{faults::Faults, labels};
use crate::key::{is_label_key, is_label_value};

/// All of these hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Box<[Requirement]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(Arc<str>, Box<[Arc<str>]>),
    NotIn(Arc<str>, Box<[Arc<str>]>),
    Exists(Arc<str>),
    DoesNotExist(Arc<str>),
}

impl Selector {
    /// Whether it means every object, whatever its labels are.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let is_one_of = |key: &Arc<str>, values: &[Arc<str>]| {
            let value = labels.get(&**key);
            value.is_some_and(|value| values.iter().any(|known| **known == **value))
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => is_one_of(key, values),
            Requirement::NotIn(key, values) => !is_one_of(key, values),
            Requirement::Exists(key) => labels.contains_key(&**key),
            Requirement::DoesNotExist(key) => !labels.contains_key(&**key),
        })
    }
}

pub(super) fn parse(selector: &crds::Selector, field: &str, faults: &mut Faults) -> Selector {
    let crds::Selector {
        match_labels,
        match_expressions,
    } = selector;
    let mut requirements = Vec::new();
    if let Some(wanted) = match_labels {
        labels::parse(wanted, &format!("{field}.matchLabels"), faults);
        let wanted = wanted.iter();
        requirements
            .extend(wanted.map(|(key, value)| Requirement::In(arc(key), Box::from([arc(value)]))));
    }
    if let Some(expressions) = match_expressions {
        let field = format!("{field}.matchExpressions");
        faults.count(&field, expressions.len(), 1, MAX_EXPRESSIONS);
        for (i, expression) in expressions.iter().enumerate() {
            let field = format!("{field}[{i}]");
            requirements.extend(parse_expression(expression, &field, faults));
        }
    }
    Selector(requirements.into())
}

fn parse_expression(
    expression: &crds::Requirement,
    field: &str,
    faults: &mut Faults,
) -> Option<Requirement> {
    let crds::Requirement {
        key,
        operator,
        values,
    } = expression;
    if !is_label_key(key) {
        faults.note(format!("{field}.key"), labels::not_a_key(key));
    }
    let listed: Box<[Arc<str>]> = values.iter().flatten().map(|value| arc(value)).collect();
    if values.is_some() {
        faults.count(&format!("{field}.values"), listed.len(), 1, MAX_VALUES);
    }
    for (i, value) in listed.iter().enumerate() {
        if !is_label_value(value) {
            faults.note(format!("{field}.values[{i}]"), labels::not_a_value(value));
        }
    }
    let key = arc(key);
    let requirement = match (operator, values.is_some()) {
        (Operator::In, true) => Requirement::In(key, listed),
        (Operator::NotIn, true) => Requirement::NotIn(key, listed),
        (Operator::Exists, false) => Requirement::Exists(key),
        (Operator::DoesNotExist, false) => Requirement::DoesNotExist(key),
        _ => {
            faults.note(field, VALUES_FIT);
            return None;
        }
    };
    Some(requirement)
}

fn arc(text: &str) -> Arc<str> {
    text.into()
}
