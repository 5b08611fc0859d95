//! A fault in one question is that one's end only.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::sync::Arc;

use axum::{Router, body::Body, http::Request, middleware, routing::post};
use sluice_webhook::{
    limits::{self, Door, Limits},
    metrics::{Metrics, Review},
};
use tower::ServiceExt;

#[tokio::test]
async fn a_panic_ends_its_own_question_and_gives_its_place_back() {
    let metrics = Arc::new(Metrics::default());
    let few = Limits {
        at_once: 1,
        waiting: 0,
        ..Limits::default()
    };
    let state = (Door::new(&few, Arc::clone(&metrics)), Review::Mutate);
    let router = Router::new()
        .route("/fault", post(async || -> &str { panic!("a fault") }))
        .route("/sound", post(async || "sound"))
        .layer(middleware::from_fn_with_state(state, limits::guard));
    let ask = async |path: &str| {
        let request = Request::post(path).body(Body::empty()).expect("a request");
        let answer = router.clone().oneshot(request).await.expect("an answer");
        answer.status().as_u16()
    };
    for _ in 0..3 {
        assert_eq!(ask("/fault").await, 500);
        assert_eq!(ask("/sound").await, 200);
    }
    let text = metrics.encode().expect("metrics");
    let line = r#"requests_total{review="mutate",kind="",verdict="failed"} 3"#;
    assert!(text.contains(line), "{text}");
}
