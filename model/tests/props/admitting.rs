//! What the schema of a custom resource admits is exactly what parses.
//!
//! The API server is not here, so a small reader of its kind of schema stands in for it. It knows
//! the keywords that our schemas use and refuses to guess at others.

use std::collections::BTreeSet;

use kube::CustomResourceExt;
use proptest::{collection::vec, prelude::*, sample::select};
use regex::Regex;
use serde_json::{Map, Value, json};
use sluice_crds::TrafficSplit;
use sluice_model::{change::Change, facts};

use crate::config;

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_split_parses_exactly_when_its_schema_admits_it(spec in spec()) {
        let crd = serde_json::to_value(TrafficSplit::crd()).expect("a CRD is JSON");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let versions = spec["versions"].as_array().into_iter().flatten();
        // The rule of the schema that is not a keyword; crds tests that it is there.
        let some_weight = versions.filter_map(|v| v["weight"].as_i64()).any(|weight| weight > 0);
        let admitted = admits(schema, &spec) && some_weight;
        let parsed = match facts::parse(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": "a", "namespace": "b"}, "spec": spec,
        })) {
            Ok(Change::Set(object)) => object.is_usable(),
            _ => false,
        };
        prop_assert_eq!(parsed, admitted);
    }
}

fn spec() -> impl Strategy<Value = Value> {
    let version = (name(), name(), weight())
        .prop_map(
            |(name, service, weight)| json!({"name": name, "service": service, "weight": weight}),
        )
        .boxed();
    let versions = prop_oneof![
        8 => vec(version.clone(), 1..4),
        1 => vec(version, 15..18),
        1 => Just(Vec::new()),
    ];
    let ports = prop_oneof![8 => vec(name(), 0..3), 1 => Just(vec!["a".to_owned(); 101])];
    let selection = select(vec![
        "Sequence", "Random", "Sequence", "sequence", "Sticky", "",
    ]);
    let when = select(vec!["Redistribute", "Reject", "Redistribute", "reject"]);
    let parts = (name(), versions, ports, selection, when, 0..64_u8);
    parts.prop_map(|(service, mut versions, ports, selection, when, shape)| {
        // Mostly, names differ.
        if shape & 1 == 0 {
            for (i, version) in versions.iter_mut().enumerate() {
                version["name"] = format!("v{i}").into();
            }
        }
        let mut spec = json!({
            "service": service, "versions": versions, "ports": ports,
            "selection": selection, "whenUnavailable": when,
        });
        let missing = [
            "service",
            "versions",
            "ports",
            "selection",
            "whenUnavailable",
        ];
        if let (Some(spec), Some(field)) =
            (spec.as_object_mut(), missing.get(usize::from(shape >> 2)))
        {
            spec.remove(*field);
        }
        spec
    })
}

fn name() -> impl Strategy<Value = String> {
    let long = |length| "a".repeat(length);
    prop_oneof![
        12 => select(vec!["http", "stable", "canary", "v-2", "a1"]).prop_map(str::to_owned),
        1 => select(vec![long(63), long(64), "ä".repeat(63), "ä".repeat(64)]),
        1 => select(vec!["", "1a", "-a", "a-", "A", "a.b", "a b", "a/b", "é", "a\n", "8080"])
            .prop_map(str::to_owned),
    ]
}

fn weight() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0..100_i64).prop_map(Value::from),
        1 => select(vec![-1, 999_999, 1_000_000, 1_000_001, 1_i64 << 32]).prop_map(Value::from),
        1 => select(vec![json!("10"), json!(0.5), json!(true)]),
    ]
}

fn admits(schema: &Value, value: &Value) -> bool {
    let keywords = schema.as_object().expect("a schema is an object");
    keywords
        .iter()
        .all(|(keyword, limit)| holds(keywords, keyword, limit, value))
}

fn holds(schema: &Map<String, Value>, keyword: &str, limit: &Value, value: &Value) -> bool {
    let count = || limit.as_u64().expect("a count") as usize;
    match keyword {
        "description" | "default" | "format" | "x-kubernetes-validations" => true,
        "x-kubernetes-list-map-keys" | "items" | "properties" if value.is_null() => true,
        "type" => match limit.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            other => panic!("type {other:?} is not known here"),
        },
        "required" => {
            let mut names = limit
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            names.all(|name| value.get(name).is_some())
        }
        "properties" => limit
            .as_object()
            .into_iter()
            .flatten()
            .all(|(name, schema)| value.get(name).is_none_or(|value| admits(schema, value))),
        "items" => value
            .as_array()
            .into_iter()
            .flatten()
            .all(|item| admits(limit, item)),
        "minItems" => value.as_array().is_some_and(|items| items.len() >= count()),
        "maxItems" => value.as_array().is_some_and(|items| items.len() <= count()),
        "minLength" => value
            .as_str()
            .is_some_and(|text| text.chars().count() >= count()),
        "maxLength" => value
            .as_str()
            .is_some_and(|text| text.chars().count() <= count()),
        "minimum" => value.as_f64() >= limit.as_f64(),
        "maximum" => value.as_f64() <= limit.as_f64(),
        "enum" => limit.as_array().is_some_and(|known| known.contains(value)),
        "pattern" => {
            let pattern = limit.as_str().and_then(|pattern| Regex::new(pattern).ok());
            let pattern = pattern.expect("a pattern");
            value.as_str().is_some_and(|text| pattern.is_match(text))
        }
        "x-kubernetes-list-type" => {
            let keys = schema.get("x-kubernetes-list-map-keys");
            let keys: Vec<&str> = keys
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let items = value.as_array().into_iter().flatten();
            let mut seen = BTreeSet::new();
            items.into_iter().all(|item| {
                let key: Vec<&Value> = keys.iter().map(|key| &item[*key]).collect();
                seen.insert(if limit == "map" {
                    json!(key).to_string()
                } else {
                    item.to_string()
                })
            })
        }
        "x-kubernetes-list-map-keys" => true,
        other => panic!("keyword {other:?} is not known here"),
    }
}
