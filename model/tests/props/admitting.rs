//! What the schema of a custom resource admits is exactly what parses.
//!
//! The API server is not here, so a small reader of its kind of schema stands in for it. It knows
//! the keywords that our schemas use and the rules that are in them, and refuses to guess at others.

use std::collections::{BTreeMap, BTreeSet};

use kube::CustomResourceExt;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
};
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
        let admitted = admits(schema, &spec);
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
    let version = (name(), name(), labels(), weight(), 0..16_u8)
        .prop_map(|(name, service, labels, weight, shape)| {
            let mut version = json!({"name": name, "weight": weight});
            if shape != 0 && shape < 12 {
                version["service"] = service.into();
            }
            if shape > 10 {
                version["pods"] = json!({"matchLabels": labels});
            }
            version
        })
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

fn labels() -> impl Strategy<Value = Value> {
    let long = |length| "a".repeat(length);
    let key = prop_oneof![
        16 => select(vec!["version", "a.b/c", "Sluice.dev_x", "a/b"]).prop_map(str::to_owned),
        1 => select(vec![long(63), long(64), format!("{}/a", long(63)), format!("{}/a", long(64))]),
        1 => select(vec!["", "/", "a/", "/a", "a/b/c", "A/b", "a./b", "é", "-a", "a.", "a\n"])
            .prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        16 => select(vec!["", "v2", "2.0_RC-1"]).prop_map(str::to_owned),
        1 => select(vec![long(63), long(64)]),
        1 => select(vec!["-", "v2.", "a b", "é", "a\n"]).prop_map(str::to_owned),
    ];
    let many = (0..17).map(|i| (format!("k{i}"), String::new()));
    let many: BTreeMap<String, String> = many.collect();
    prop_oneof![
        16 => btree_map(key, value, 1..3),
        1 => Just(BTreeMap::new()),
        1 => Just(many),
    ]
    .prop_map(|labels| json!(labels))
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
        "description" | "default" | "format" => true,
        "x-kubernetes-validations" => {
            let rules = limit.as_array().into_iter().flatten();
            let mut rules = rules.filter_map(|rule| rule["rule"].as_str());
            rules.all(|rule| obeys(rule, value))
        }
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
        "additionalProperties" => {
            let mut values = value.as_object().into_iter().flat_map(Map::values);
            values.all(|value| admits(limit, value))
        }
        "minProperties" => value.as_object().is_some_and(|map| map.len() >= count()),
        "maxProperties" => value.as_object().is_some_and(|map| map.len() <= count()),
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

/// The rules, in another language.
fn obeys(rule: &str, value: &Value) -> bool {
    match rule {
        "self.versions.exists(v, v.weight > 0)" => {
            let versions = value["versions"].as_array().into_iter().flatten();
            let mut weights = versions.filter_map(|version| version["weight"].as_i64());
            weights.any(|weight| weight > 0)
        }
        "has(self.service) != has(self.pods)" => {
            value.get("service").is_some() != value.get("pods").is_some()
        }
        "self.all(key, !format.qualifiedName().validate(key).hasValue())" => {
            let label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
            let name = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
            let pattern = format!(r"^({label}(\.{label})*/)?{name}$");
            let pattern = Regex::new(&pattern).expect("a pattern");
            let mut keys = value.as_object().into_iter().flat_map(Map::keys);
            keys.all(|key| {
                let prefix = key.split_once('/').map_or(0, |(prefix, _)| prefix.len());
                pattern.is_match(key) && prefix <= 253
            })
        }
        rule if ["!has(self.callers) ||", "!has(self.rollout) ||"]
            .iter()
            .any(|unasked| rule.starts_with(unasked)) =>
        {
            assert!(value.get("callers").is_none() && value.get("rollout").is_none());
            true
        }
        other => panic!("rule {other:?} is not known here"),
    }
}
