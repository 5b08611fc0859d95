//! Whatever comes in: an answer in time, never a fault of the webhook's own, and the question's uid in a review's answer.

#![allow(clippy::expect_used, reason = "a test may")]

#[path = "support/reviews.rs"]
mod reviews;

use std::sync::Arc;

use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
};
use reviews::{review, spec, split, store};
use serde_json::{Value, json};
use sluice_webhook::{limits::Limits, metrics::Metrics, router};
use tokio::runtime::Builder;
use tower::ServiceExt;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_answered(path in path(), body in vec(any::<u8>(), 0..512)) {
        is_an_answer(path, &body, None)?;
    }

    #[test]
    fn json_is_answered(path in path(), body in json()) {
        is_an_answer(path, body.to_string().as_bytes(), None)?;
    }

    #[test]
    fn a_review_with_something_else_in_it_is_answered(
        path in path(),
        place in place(),
        value in json(),
        operation in select(vec!["CREATE", "UPDATE", "DELETE", "CONNECT"]),
    ) {
        let mut review = review(operation, &split(&spec()));
        review["request"]["oldObject"] = review["request"]["object"].clone();
        *review.pointer_mut(&place).expect("a place") = value;
        let uid = review["request"]["uid"].as_str().map(str::to_owned);
        is_an_answer(path, review.to_string().as_bytes(), uid.as_deref())?;
    }

    #[test]
    fn an_object_of_any_kind_with_anything_in_its_spec_is_answered_and_judged(
        path in path(),
        kind in select(vec!["TrafficSplit", "LocalRedirectPolicy", "BalancingPolicy", "FrontendGrant"]),
        spec in json(),
    ) {
        let mut review = review("CREATE", &split(&spec));
        review["request"]["kind"]["kind"] = json!(kind);
        review["request"]["object"]["kind"] = json!(kind);
        is_an_answer(path, review.to_string().as_bytes(), review["request"]["uid"].as_str())?;
    }

    #[test]
    fn half_a_review_is_answered(path in path(), part in 0..100_usize) {
        let review = review("CREATE", &split(&spec())).to_string();
        is_an_answer(path, &review.as_bytes()[..review.len() * part / 100], None)?;
    }
}

/// With a uid: one that a review has, so that its answer has it too, if it could be read at all.
fn is_an_answer(path: &str, body: &[u8], uid: Option<&str>) -> Result<(), TestCaseError> {
    let metrics = Arc::new(Metrics::default());
    let router = router(&store(), &metrics, &Limits::default());
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_vec())).expect("a request");
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (code, text) = runtime.block_on(async {
        let response = router.oneshot(request).await.expect("an answer");
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body");
        (code, body.to_bytes())
    });
    prop_assert!(code == 200 || (400..500).contains(&code), "{code}");
    if code == 200 {
        let answer: Value = serde_json::from_slice(&text).expect("JSON");
        prop_assert_eq!(answer["kind"].as_str(), Some("AdmissionReview"));
        prop_assert!(answer["response"]["allowed"].is_boolean());
        if let Some(uid) = uid {
            prop_assert_eq!(answer["response"]["uid"].as_str(), Some(uid));
        }
    }
    Ok(())
}

fn path() -> impl Strategy<Value = &'static str> {
    select(vec!["/validate", "/mutate"])
}

/// Somewhere in a review.
fn place() -> impl Strategy<Value = String> {
    select(vec![
        "",
        "/apiVersion",
        "/kind",
        "/request",
        "/request/uid",
        "/request/kind",
        "/request/kind/kind",
        "/request/operation",
        "/request/name",
        "/request/namespace",
        "/request/userInfo",
        "/request/object",
        "/request/object/metadata",
        "/request/object/metadata/name",
        "/request/object/spec",
        "/request/object/spec/service",
        "/request/object/spec/versions",
        "/request/object/spec/versions/0",
        "/request/object/spec/versions/0/weight",
        "/request/oldObject",
        "/request/oldObject/spec",
        "/request/oldObject/metadata",
    ])
    .prop_map(str::to_owned)
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec![
            "",
            "a",
            "::1",
            "10.0.0.0/8",
            "5m",
            "1e99s",
            "5%",
            "\0",
            "\u{202E}"
        ])
        .prop_map(Value::from),
    ];
    let key = prop_oneof![
        select(vec![
            "service",
            "versions",
            "name",
            "weight",
            "pods",
            "frontend",
            "backend",
            "backends",
            "address",
            "ip",
            "ports",
            "port",
            "metadata",
            "spec",
            "rollout",
            "callers",
            "matchLabels",
            "namespaces",
            "addresses",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            btree_map(key.clone(), inner, 0..8).prop_map(|map| json!(map)),
        ]
    })
}
