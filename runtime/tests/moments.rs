//! What watches make of answers that real API servers give for moments only: scripted here, with a
//! clock that jumps; `kind-tests` asks real servers.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use k8s_openapi::{
    api::core::v1::ConfigMap,
    serde_json::{Value, json},
};
use kube::{Api, Client, ResourceExt, client::Body};
use sluice_runtime::{
    client::Server,
    watch::{Asked, Heard, Watches},
};
use tokio::time::{Instant, timeout};

type Told = Heard<String>;

/// A server that answers a path and query like this.
fn server(answer: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) -> Server {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (code, body) = answer(&request.uri().to_string());
        async move {
            let body = Body::from(body.to_string().into_bytes());
            let response = Response::builder().status(code).body(body);
            Ok::<_, Infallible>(response.expect("a response"))
        }
    });
    Server {
        client: Client::new(service, "default"),
        url: "http://scripted".parse().expect("a URL"),
        through_service: false,
    }
}

/// Watches of a kind that a CRD could define.
fn watches(server: &Server) -> Watches<Told> {
    let mut watches = Watches::of(server);
    let asked = Asked::all(Api::<ConfigMap>::all(server.client.clone())).optional();
    watches.add(asked, |object| Some(object.name_any()), |heard| heard);
    watches
}

fn not_found() -> (u16, Value) {
    failure(404, "not found")
}

fn failure(code: u16, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": message, "code": code,
    });
    (code, status)
}

fn list(names: &[&str]) -> (u16, Value) {
    let items: Vec<_> = names
        .iter()
        .map(|name| json!({"metadata": {"name": name, "resourceVersion": "7"}}))
        .collect();
    let list = json!({
        "kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
        "items": items,
    });
    (200, list)
}

fn directory(kinds: &[&str]) -> (u16, Value) {
    let kinds: Vec<_> = kinds
        .iter()
        .map(|kind| {
            json!({
                "name": kind, "singularName": "", "namespaced": true, "kind": "Any", "verbs": [],
            })
        })
        .collect();
    let directory = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": kinds,
    });
    (200, directory)
}

async fn first_list(watches: &mut Watches<Told>) -> Vec<String> {
    loop {
        for heard in watches.next().await {
            if let Heard::Listed(names) = heard {
                return names;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_404_of_a_server_that_is_not_ready_takes_nothing_away() {
    for lie in ["it is not ready", "it lists the kind as served"] {
        let asked = Arc::new(AtomicU32::new(0));
        let server = server(move |uri| match uri {
            "/readyz" if lie.contains("not ready") => failure(500, "informers are not synced"),
            "/readyz" => (200, json!("ok")),
            uri if uri.contains("watch=") => list(&[]),
            uri if uri.contains("configmaps") => match asked.fetch_add(1, Ordering::Relaxed) {
                0..5 => not_found(),
                _ => list(&["here"]),
            },
            _ => directory(&["configmaps"]),
        });
        let mut watches = watches(&server);
        assert_eq!(first_list(&mut watches).await, ["here"], "{lie}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_surely_not_served_is_empty_when_it_is_said_twice() {
    let said = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&said);
    let server = server(move |uri| match uri {
        "/readyz" => (200, json!("ok")),
        uri if uri.contains("configmaps") => {
            counted.fetch_add(1, Ordering::Relaxed);
            not_found()
        }
        _ => directory(&["others"]),
    });
    let began = Instant::now();
    let none = first_list(&mut watches(&server)).await;
    assert!(none.is_empty());
    assert_eq!(said.load(Ordering::Relaxed), 2);
    assert!(began.elapsed() > Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_loses_every_watch_is_asked_less_and_less() {
    let gone = failure(410, "too old");
    let fault = json!({"type": "ERROR", "object": failure(500, "fault").1});
    for (i, answer) in [gone, (200, fault)].into_iter().enumerate() {
        let lists = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&lists);
        let server = server(move |uri| {
            if uri.contains("watch=") {
                return answer.clone();
            }
            counted.fetch_add(1, Ordering::Relaxed);
            list(&[])
        });
        let mut watches = watches(&server);
        let minutes = timeout(Duration::from_secs(600), async {
            while lists.load(Ordering::Relaxed) < 1_000 {
                watches.next().await;
            }
        });
        assert!(minutes.await.is_err(), "case {i}: it is asked all the time");
        let lists = lists.load(Ordering::Relaxed);
        // Ten minutes of pauses that have grown to 15 s, less the shorter ones at the start.
        assert!((20..=100).contains(&lists), "case {i}: {lists} lists");
    }
}
