//! Reviews in, reviews out: the texts are kept as snapshots.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/reviews.rs"]
mod reviews;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt;
use insta::assert_snapshot;
use json_patch::Patch;
use reviews::{review, spec, split, store};
use serde_json::{Value, json};
use sluice_webhook::{limits::Limits, metrics::Metrics, router};
use tokio::time::advance;
use tower::ServiceExt;

fn webhook() -> (Router, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    (router(&store(), &metrics, &Limits::default()), metrics)
}

async fn post(path: &str, kind: &str, body: impl Into<Body>) -> (u16, String) {
    ask(&webhook().0, path, kind, body).await
}

async fn ask(router: &Router, path: &str, kind: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::post(path).header("content-type", kind);
    let request = request.body(body.into()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body");
    let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
    (code, text)
}

/// The answer to a review, for a person.
async fn answer(path: &str, review: &Value) -> String {
    let (code, text) = post(path, "application/json", review.to_string()).await;
    assert_eq!(code, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    serde_json::to_string_pretty(&answer).expect("JSON")
}

#[tokio::test]
async fn a_sound_split_is_allowed() {
    let ports = merged(spec(), json!({"ports": ["http"]}));
    let review = review("CREATE", &split(&ports));
    assert_snapshot!(answer("/validate", &review).await);
}

#[tokio::test]
async fn faults_are_denied_with_their_paths() {
    let faults = merged(spec(), json!({"service": "1", "ports": ["http", "http"]}));
    let review = review("CREATE", &split(&faults));
    assert_snapshot!(answer("/validate", &review).await);
}

#[tokio::test]
async fn a_conflict_names_the_other_split() {
    let review = review("CREATE", &split(&spec()));
    assert_snapshot!(answer("/validate", &review).await);
}

#[tokio::test]
async fn what_is_missing_is_a_warning() {
    let missing = merged(spec(), json!({"service": "later"}));
    let review = review("CREATE", &split(&missing));
    assert_snapshot!(answer("/validate", &review).await);
}

#[tokio::test]
async fn a_left_out_service_is_filled_in_once() {
    let mut object = split(&spec());
    object["spec"]
        .as_object_mut()
        .expect("a spec")
        .remove("service");
    let text = answer("/mutate", &review("CREATE", &object)).await;
    assert_snapshot!(text);

    let answered: Value = serde_json::from_str(&text).expect("JSON");
    let patch: Vec<u8> =
        serde_json::from_value(answered["response"]["patch"].clone()).expect("a patch");
    let patch: Patch = serde_json::from_slice(&patch).expect("a patch");
    json_patch::patch(&mut object, &patch).expect("a patch that fits");
    assert_eq!(object["spec"]["service"], "checkout");
    let again = answer("/mutate", &review("UPDATE", &object)).await;
    assert!(!again.contains("patch"), "{again}");
}

#[tokio::test]
async fn nothing_is_filled_in_that_could_not_stand() {
    let none = |metadata: Value, spec: Value| {
        let mut object = split(&spec);
        object["metadata"] = metadata;
        object
    };
    for object in [
        // A name that no Service can have, one that is still to be made, no spec at all.
        none(json!({"name": "a.b"}), json!({})),
        none(json!({"generateName": "a-"}), json!({})),
        none(json!({"name": "a"}), Value::Null),
        none(json!({"name": "a"}), json!("spec")),
        none(json!({"name": "a"}), json!({"service": "b"})),
        none(json!({"name": "a"}), json!({"service": ""})),
    ] {
        let text = answer("/mutate", &review("CREATE", &object)).await;
        assert!(!text.contains("patch"), "{object}: {text}");
    }
}

#[tokio::test]
async fn what_is_not_asked_is_allowed() {
    let bad = split(&json!({"service": "1"}));
    let deleted = {
        let mut review = review("DELETE", &Value::Null);
        review["request"]["oldObject"] = bad.clone();
        review
    };
    let status = {
        let mut review = review("UPDATE", &bad);
        review["request"]["subResource"] = json!("status");
        review
    };
    for review in [deleted, status] {
        let text = answer("/validate", &review).await;
        assert!(text.contains("\"allowed\": true"), "{text}");
    }
    let mut foreign = review("CREATE", &bad);
    foreign["request"]["kind"] = json!({"group": "sluice.dev", "version": "v2", "kind": "Dam"});
    let text = answer("/validate", &foreign).await;
    assert!(text.contains("\"allowed\": true"), "{text}");
    assert!(
        text.contains("sluice has no rules for sluice.dev/v2 Dam"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let sound = review("CREATE", &split(&spec()));
    let with = |pointer: &str, value: Value| {
        let mut review = sound.clone();
        *review.pointer_mut(pointer).expect("a field") = value;
        review.to_string()
    };
    let mut said = String::new();
    for body in [
        String::new(),
        "review".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        with("/apiVersion", json!("admission.k8s.io/v1beta1")),
        with("/kind", json!("Review")),
        with("/request", Value::Null),
        with("/request/uid", json!("")),
        with("/request/object", Value::Null),
        with("/request/object/metadata", json!(7)),
        with("/request/operation", json!("PERUSE")),
        format!("{sound}{sound}"),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        with("/request/object/spec", nested(200)),
    ] {
        let (code, text) = post("/validate", "application/json", body).await;
        assert_eq!(code, 400, "{text}");
        said.push_str(&text);
        said.push('\n');
    }
    assert_snapshot!(said);
    let invalid = [b"\"".as_slice(), &[0xff], b"\""].concat();
    assert_eq!(post("/validate", "application/json", invalid).await.0, 400);
    for kind in ["text/plain", "application/jsonx", "application/yaml", ""] {
        assert_eq!(
            post("/validate", kind, sound.to_string()).await.0,
            415,
            "{kind}"
        );
    }
    let charset = "application/json; charset=utf-8";
    assert_eq!(post("/validate", charset, sound.to_string()).await.0, 200);
}

#[tokio::test]
async fn other_ways_in_lead_nowhere() {
    for (method, path, code) in [
        ("GET", "/validate", 405),
        ("POST", "/", 404),
        ("POST", "/convert", 404),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty());
        let response = webhook().0.oneshot(request.expect("a request")).await;
        assert_eq!(
            response.expect("an answer").status().as_u16(),
            code,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn what_is_larger_than_two_objects_is_refused() {
    let padding = |length: usize| {
        let mut object = split(&spec());
        object["metadata"]["annotations"] = json!({"padding": "a".repeat(length)});
        review("CREATE", &object).to_string()
    };
    assert_eq!(
        post("/validate", "application/json", padding(2 << 20))
            .await
            .0,
        200
    );
    assert_eq!(
        post("/validate", "application/json", padding(3 << 20))
            .await
            .0,
        413
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_long_in_coming_is_given_up() {
    let body = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let (router, metrics) = webhook();
    let (code, text) = ask(&router, "/validate", "application/json", body).await;
    assert_eq!(
        (code, text.as_str()),
        (408, "the question was too long in coming")
    );
    let counted = metrics.encode().expect("metrics");
    let line = r#"requests_total{review="validate",kind="",verdict="too_slow"} 1"#;
    assert!(counted.contains(line), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn too_many_questions_at_once_are_turned_away() {
    let metrics = Arc::new(Metrics::default());
    let limits = Limits {
        at_once: 2,
        waiting: 1,
        patience: Duration::from_secs(2),
        ..Limits::default()
    };
    let router = router(&store(), &metrics, &limits);
    let pending = || {
        let stream = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let request = Request::post("/validate")
            .header("content-type", "application/json")
            .header("content-length", 100)
            .body(Body::from_stream(stream));
        let answer = router.clone().oneshot(request.expect("a request"));
        async { answer.await.expect("an answer").status() }
    };
    let sound = || {
        let review = review("CREATE", &split(&spec())).to_string();
        ask(&router, "/validate", "application/json", review)
    };
    let later = async {
        advance(Duration::from_secs(1)).await;
        tokio::join!(sound(), sound())
    };
    let (a, b, (waiting, late)) = tokio::join!(pending(), pending(), later);
    // Two are worked on until they are given up, the third waits for that, and for the fourth there
    // is no place.
    assert_eq!([a.as_u16(), b.as_u16()], [408, 408]);
    assert_eq!([waiting.0, late.0], [200, 503]);
}

#[tokio::test]
async fn endings_are_counted_by_review_and_kind() {
    let (router, metrics) = webhook();
    let denied = review("CREATE", &split(&spec())).to_string();
    for body in [denied.clone(), denied, "nothing".to_owned()] {
        ask(&router, "/validate", "application/json", body).await;
    }
    let text = metrics.encode().expect("metrics");
    for line in [
        r#"requests_total{review="validate",kind="TrafficSplit",verdict="denied"} 2"#,
        r#"requests_total{review="validate",kind="",verdict="unreadable"} 1"#,
        r#"request_seconds_count{review="validate"} 3"#,
    ] {
        assert!(text.contains(&format!("sluice_webhook_{line}\n")), "{text}");
    }
}

fn merged(mut spec: Value, with: Value) -> Value {
    let (Some(spec), Value::Object(with)) = (spec.as_object_mut(), with) else {
        panic!("objects")
    };
    spec.extend(with);
    Value::Object(spec.clone())
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}
