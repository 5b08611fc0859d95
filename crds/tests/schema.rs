//! What holds of every kind's schema.

#![allow(clippy::expect_used, reason = "a test may")]

use kube::CustomResourceExt;
use serde_json::Value;
use sluice_crds::{
    BalancingPolicy, FrontendGrant, LocalRedirectPolicy, NodeReport, TrafficSplit,
    balancing::{CHECK_INTERVAL, CHECK_TIMEOUT},
    split::{MAX_PORTS, MAX_VERSIONS, MAX_WEIGHT},
};

/// Every kind, with its definition.
fn definitions() -> Vec<Value> {
    let crds = [
        BalancingPolicy::crd(),
        FrontendGrant::crd(),
        LocalRedirectPolicy::crd(),
        NodeReport::crd(),
        TrafficSplit::crd(),
    ];
    let crds = crds.into_iter();
    crds.map(|crd| serde_json::to_value(crd).expect("a CRD is JSON"))
        .collect()
}

/// Spec and status, each with a name to tell it by.
fn parts() -> Vec<(String, Value)> {
    let crds = definitions().into_iter();
    crds.flat_map(|crd| {
        let kind = crd["spec"]["names"]["kind"].as_str().expect("a kind");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        ["spec", "status"].map(|part| (format!("{kind} {part}"), schema[part].clone()))
    })
    .collect()
}

#[test]
fn every_list_map_and_string_is_bounded() {
    let mut open = Vec::new();
    for (part, schema) in parts() {
        unbounded(&part, &schema, &mut open);
    }
    // Conditions are Kubernetes' own type.
    open.retain(|path| !path.contains(" status.conditions[]"));
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn every_number_of_a_spec_is_bounded() {
    let mut open = Vec::new();
    for (part, schema) in parts() {
        if part.ends_with("spec") {
            walk(&part, &schema, &mut |path, schema| {
                let bounded = !schema["minimum"].is_null() && !schema["maximum"].is_null();
                if schema["type"] == "integer" && !bounded {
                    open.push(path.to_owned());
                }
            });
        }
    }
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn every_field_explains_itself() {
    let mut silent = Vec::new();
    for (part, schema) in parts() {
        walk(&part, &schema, &mut |path, schema| {
            let is_field = !path.ends_with("[]") && !path.ends_with("{}");
            if is_field && schema["description"].is_null() {
                silent.push(path.to_owned());
            }
        });
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_list_says_how_it_is_merged() {
    let mut silent = Vec::new();
    for (part, schema) in parts() {
        walk(&part, &schema, &mut |path, schema| {
            if schema["type"] == "array" && schema["x-kubernetes-list-type"].is_null() {
                silent.push(path.to_owned());
            }
        });
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_value_of_a_choice_is_explained_where_it_is_chosen() {
    let mut silent = Vec::new();
    for (part, schema) in parts() {
        walk(&part, &schema, &mut |path, schema| {
            let text = schema["description"].as_str().unwrap_or_default();
            let values = schema["enum"].as_array().into_iter().flatten();
            for value in values.filter_map(Value::as_str) {
                if !text.contains(value) {
                    silent.push(format!("{path}: {value}"));
                }
            }
        });
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn nothing_of_a_spec_can_be_null() {
    let mut nullable = Vec::new();
    for (part, schema) in parts() {
        if part.ends_with("spec") {
            walk(&part, &schema, &mut |path, schema| {
                if schema["nullable"] == true {
                    nullable.push(path.to_owned());
                }
            });
        }
    }
    assert_eq!(nullable, Vec::<String>::new());
}

/// Tools that compare take a list as one value: what is filled in inside of it looks like a change.
#[test]
fn nothing_is_filled_in_within_a_list() {
    let mut filled = Vec::new();
    for (part, schema) in parts() {
        walk(&part, &schema, &mut |path, schema| {
            if path.contains("[]") && !schema["default"].is_null() {
                filled.push(path.to_owned());
            }
        });
    }
    assert_eq!(filled, Vec::<String>::new());
}

#[test]
fn the_rule_on_times_knows_what_is_meant_where_they_are_left_out() {
    let parts = parts();
    let balancing = parts
        .iter()
        .find(|(part, _)| part == "BalancingPolicy spec");
    let (_, spec) = balancing.expect("a spec");
    let check = &spec["properties"]["backends"]["items"]["properties"]["check"];
    let rules = check["x-kubernetes-validations"].as_array().expect("rules");
    let rules: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule["rule"].as_str())
        .collect();
    for (field, default) in [("timeout", CHECK_TIMEOUT), ("interval", CHECK_INTERVAL)] {
        let known = format!("self.?{field}.orValue('{default}')");
        assert!(
            rules.iter().any(|rule| rule.contains(&known)),
            "{known}: {rules:?}"
        );
    }
}

#[test]
fn every_rule_says_what_would_be_accepted() {
    for (part, schema) in parts() {
        walk(&part, &schema, &mut |path, schema| {
            let rules = schema["x-kubernetes-validations"].as_array();
            for rule in rules.into_iter().flatten() {
                assert!(rule["message"].is_string(), "{path}: {rule}");
            }
        });
    }
}

#[test]
fn the_bounds_that_parsers_know_are_those_of_the_schema() {
    let parts = parts();
    let (_, spec) = parts
        .iter()
        .find(|(part, _)| part == "TrafficSplit spec")
        .expect("a spec");
    let versions = &spec["properties"]["versions"];
    assert_eq!(versions["maxItems"], MAX_VERSIONS);
    let weight = &versions["items"]["properties"]["weight"]["maximum"];
    assert_eq!(weight.as_f64(), Some(f64::from(MAX_WEIGHT)));
    assert_eq!(spec["properties"]["ports"]["maxItems"], MAX_PORTS);
    assert_eq!(spec["properties"]["selection"]["default"], "Sequence");
}

#[test]
fn every_kind_is_found_by_its_category_and_shown_by_its_state() {
    for crd in definitions() {
        let names = &crd["spec"]["names"];
        assert_eq!(names["categories"][0], "sluice", "{names}");
        let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array();
        let columns = columns.expect("columns").iter();
        let columns: Vec<_> = columns
            .filter_map(|column| column["name"].as_str())
            .collect();
        let state = ["Accepted", "Ready"];
        assert!(
            columns.iter().any(|name| state.contains(name)),
            "{names}: {columns:?}"
        );
        assert_eq!(columns.last(), Some(&"Age"), "{names}");
    }
}

fn unbounded(part: &str, schema: &Value, open: &mut Vec<String>) {
    walk(part, schema, &mut |path, schema| {
        let bounds: &[&str] = match schema["type"].as_str() {
            Some("array") => &["maxItems"],
            Some("string") => &["maxLength", "enum", "format"],
            Some("object")
                if schema["properties"].is_null() && !schema["additionalProperties"].is_null() =>
            {
                &["maxProperties"]
            }
            _ => return,
        };
        if bounds.iter().all(|bound| schema[*bound].is_null()) {
            open.push(path.to_owned());
        }
    });
}

/// Shows each schema below one, its own included, with its path.
fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, look);
    }
    for (field, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[field].is_object() {
            walk(&format!("{path}{mark}"), &schema[field], look);
        }
    }
}
