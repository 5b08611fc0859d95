//! What the largest bodies cost in memory, however they are made: counted as bytes, which are the same on a machine
//! under load.

#![allow(clippy::expect_used, reason = "a test may")]

#[path = "support/reviews.rs"]
mod reviews;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
};
use reviews::{review, spec, split, store};
use serde_json::{Value, json};
use sluice_webhook::{
    limits::{BODY, Limits},
    metrics::Metrics,
    review::VALUES,
    router,
};
use tokio::task::JoinSet;
use tower::ServiceExt;

const MIB: usize = 1024 * 1024;
/// The shipped webhook may take 512 MiB; this is for what one address asks at once.
const MOST: usize = 256 * MIB;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is the system's own; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: by this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: by this function's own contract.
        unsafe { System.dealloc(block, layout) }
    }
}

/// One test, since it counts what the whole program holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_bodies_are_answered_in_bounded_memory() {
    let limits = Limits {
        // Nobody gives up on a machine that has much to do.
        patience: Duration::from_secs(600),
        ..Limits::default()
    };
    let router = router(&store(), &Arc::new(Metrics::default()), &limits);
    let mut worst = (0, Bytes::new());
    for (form, body) in forms() {
        let length = body.len();
        assert!(length <= BODY, "{form}: {length}");
        let body = Bytes::from(body);
        let peak = peak_of(&router, &body, 1).await;
        println!("{form}: {} MiB", peak / MIB);
        assert!(peak < MOST, "{form}: {} MiB", peak / MIB);
        worst = worst.max((peak, body));
    }
    let (one, body) = worst;
    let many = peak_of(&router, &body, limits.at_once).await;
    let at_once = limits.at_once;
    println!("the worst of them, {at_once} at once: {} MiB", many / MIB);
    assert!(many < 2 * one, "more than one is worked on");
}

/// The largest number of bytes held beyond those that are held now, while so many are asked at once.
async fn peak_of(router: &Router, body: &Bytes, at_once: usize) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let mut asked = JoinSet::new();
    for _ in 0..at_once {
        asked.spawn(ask(router.clone(), body.clone()));
    }
    for code in asked.join_all().await {
        assert!(code == 200 || (400..500).contains(&code), "{code}");
    }
    PEAK.load(Relaxed).saturating_sub(before)
}

async fn ask(router: Router, body: Bytes) -> u16 {
    let request = Request::post("/validate")
        .header("content-type", "application/json")
        .header("content-length", body.len());
    let request = request.body(Body::from(body)).expect("a request");
    let answer = router.oneshot(request).await.expect("an answer");
    answer.status().as_u16()
}

/// As long as there may be, and with as many values as there may be.
fn forms() -> Vec<(&'static str, String)> {
    let room = BODY - 8 * 1024;
    let with = |value: &str| {
        let mut object = split(&spec());
        object["spec"]["versions"] = json!("@");
        review("CREATE", &object)
            .to_string()
            .replace("\"@\"", value)
    };
    let long = |item: &str| with(&format!("[{}null]", item.repeat(room / item.len())));
    let many = |item: &str, values: usize| {
        let items = (VALUES - 100) / values;
        with(&format!("[{}null]", item.repeat(items)))
    };
    let version = json!({"name": "a", "service": "b", "weight": 1}).to_string() + ",";
    let keys: String = (0..VALUES - 100).map(|i| format!("\"{i:x}\":0,")).collect();
    vec![
        ("only brackets", "[".repeat(room)),
        ("too many numbers", long("0,")),
        ("too many objects", long("{\"a\":0},")),
        ("too many versions", long(&version)),
        (
            "one letter, written long",
            with(&format!("\"{}\"", "\\u0000".repeat(room / 6))),
        ),
        ("one text", with(&format!("\"{}\"", "a".repeat(room)))),
        ("numbers", many("0,", 1)),
        ("lists", many("[0],", 2)),
        ("objects", many("{\"a\":0},", 2)),
        ("objects in objects", many("{\"a\":{\"a\":0}},", 3)),
        ("versions", many(&version, 4)),
        ("many keys", with(&format!("{{{keys}\"z\":0}}"))),
        (
            "one key again and again",
            with(&format!(
                "{{{}\"z\":0}}",
                "\"a\":[0],".repeat((VALUES - 100) / 2)
            )),
        ),
        (
            "the old and the new one",
            twice(&many_versions((VALUES - 100) / 8)),
        ),
    ]
}

fn many_versions(count: usize) -> Value {
    let versions =
        (0..count).map(|i| json!({"name": format!("v{i}"), "service": "v1", "weight": 1}));
    let mut spec = spec();
    spec["versions"] = versions.collect();
    split(&spec)
}

fn twice(object: &Value) -> String {
    let mut review = review("UPDATE", object);
    review["request"]["oldObject"] = object.clone();
    review.to_string()
}
