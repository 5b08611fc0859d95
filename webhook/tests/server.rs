//! The server as an API server sees it: certificates that change under load, protocols, and its end.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/client.rs"]
mod client;
#[path = "server/ending.rs"]
mod ending;
#[path = "support/files.rs"]
mod files;
#[path = "server/knowing.rs"]
mod knowing;
#[path = "support/reviews.rs"]
mod reviews;
#[path = "server/waiting.rs"]
mod waiting;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, http::Version};
use client::{Caller, Failure, allowed, question};
use files::{Authority, Volume, now};
use hyper::client::conn::http2;
use serde_json::json;
use sluice_webhook::{limits::Limits, metrics::Metrics, router, server::Server, tls::Certificates};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// A server on loopback with the certificates of a folder.
struct Running {
    caller: Caller,
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// Nobody gives up on a machine that has much to do.
fn patient() -> Limits {
    Limits {
        patience: Duration::from_secs(600),
        ..Limits::default()
    }
}

async fn serve(folder: &Path, authority: &Authority) -> Running {
    serve_only(folder, authority, None).await
}

/// Only those callers are answered, where any are named.
async fn serve_only(
    folder: &Path,
    authority: &Authority,
    callers: Option<(PathBuf, Vec<String>)>,
) -> Running {
    let metrics = Arc::new(Metrics::default());
    let certificates = Certificates::new(folder.to_owned(), callers, Arc::clone(&metrics));
    let reasons = certificates.watch().expect("a folder");
    certificates.reload(now());
    let router = router(&reviews::store(), &metrics, &patient());
    let tls = certificates.server_config().expect("TLS");
    let server = Server::new(router, tls, Arc::clone(&metrics));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (end, ended) = oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(listener, async { drop(ended.await) }, Duration::ZERO));
    tokio::spawn(Arc::clone(&certificates).follow(reasons));
    Running {
        caller: Caller {
            address,
            roots: authority.roots(),
            shows: None,
        },
        certificates,
        metrics,
        end,
        served,
    }
}

fn review() -> String {
    let mut spec = reviews::spec();
    spec["ports"] = json!(["http"]);
    reviews::review("CREATE", &reviews::split(&spec)).to_string()
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(PAUSE).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "{what}: not in time");
}

impl Running {
    async fn shows(&self, certificate: &[u8]) -> bool {
        self.caller
            .certificate()
            .await
            .is_ok_and(|shown| shown == certificate)
    }

    fn counts(&self, line: &str) -> bool {
        let text = self.metrics.encode().expect("metrics");
        text.lines()
            .any(|found| found == format!("sluice_webhook_{line}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_fails_while_certificates_change() {
    const CHANGES: u64 = 20;
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let running = serve(volume.path(), &authority).await;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    let mut callers = Vec::new();
    // One asks over a connection that stays, the others over new ones.
    for stays in [true, false, false] {
        let (caller, stop, asked) = (
            running.caller.clone(),
            Arc::clone(&stop),
            Arc::clone(&asked),
        );
        callers.push(tokio::spawn(async move {
            let mut sender = caller.http2().await?;
            while !stop.load(Ordering::Relaxed) {
                if !stays {
                    sender = caller.http2().await?;
                }
                ask(&mut sender).await?;
                asked.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        }));
    }
    for serial in 2..2 + CHANGES {
        let pair = authority.issue(serial);
        volume.put(&pair);
        eventually("the new certificate", async || {
            running.shows(&pair.der).await
        })
        .await;
        let before = asked.load(Ordering::Relaxed);
        eventually("questions", async || {
            asked.load(Ordering::Relaxed) >= before + 30
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller
            .await
            .expect("a caller")
            .expect("each question is answered");
    }
    println!(
        "{} questions over {CHANGES} changes",
        asked.load(Ordering::Relaxed)
    );
    assert!(running.counts(&format!("certificates_taken_total {}", CHANGES + 1)));
    assert!(running.counts("certificates_broken_total 0"));
}

async fn ask(sender: &mut http2::SendRequest<Body>) -> Result<Version, Failure> {
    sender.ready().await?;
    allowed(sender.send_request(question(review())).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_work_is_not_taken() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    let good = authority.issue(1);
    let other = authority.issue(2);
    volume.put(&good);
    let running = serve(volume.path(), &authority).await;
    let (expired, future) = (authority.expired(), authority.of_the_future());
    let half = &other.certificate[..other.certificate.len() / 2];
    let broken = [
        ("", ""),
        (half, &*other.key),
        (&*other.certificate, ""),
        (&*other.certificate, &*good.key),
        (&*expired.certificate, &*expired.key),
        (&*future.certificate, &*future.key),
    ];
    for (i, (certificate, key)) in broken.into_iter().enumerate() {
        volume.write(certificate, key);
        let line = format!("certificates_broken_total {}", i + 1);
        eventually(&line, async || running.counts(&line)).await;
        assert!(running.shows(&good.der).await);
        assert_eq!(running.certificates.is_valid(now()), Ok(()));
    }
    volume.put(&other);
    eventually("the mended certificate", async || {
        running.shows(&other.der).await
    })
    .await;
    assert!(running.counts("certificates_taken_total 2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_may_come_after_the_start() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    let running = serve(volume.path(), &authority).await;
    let missing = running.certificates.is_valid(now());
    assert!(missing.is_err_and(|text| text.contains("tls.crt")));
    assert!(running.caller.http2().await.is_err());
    let pair = authority.issue(1);
    volume.put(&pair);
    eventually("the certificate", async || running.shows(&pair.der).await).await;
    assert_eq!(running.certificates.is_valid(now()), Ok(()));
    let late = now() + Duration::from_secs(3_000 * 366 * 86_400);
    let over = running.certificates.is_valid(late);
    assert!(over.is_err_and(|text| text.contains("was valid until")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_protocols_are_spoken() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let running = serve(volume.path(), &authority).await;
    for (offered, chosen) in [
        (&b"h2"[..], Some(&b"h2"[..])),
        (b"http/1.1", Some(b"http/1.1")),
    ] {
        let stream = running.caller.connect(offered).await.expect("a connection");
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
    }
    let mut two = running.caller.http2().await.expect("a connection");
    assert_eq!(ask(&mut two).await.expect("an answer"), Version::HTTP_2);
    let mut one = running.caller.http1().await.expect("a connection");
    let answer = one
        .send_request(question(review()))
        .await
        .expect("an answer");
    assert_eq!(allowed(answer).await.expect("allowed"), Version::HTTP_11);
    // Not TLS: the connection ends, and nothing else does.
    let plain = TcpStream::connect(running.caller.address)
        .await
        .expect("a connection");
    plain.try_write(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    eventually("the failed handshake", async || {
        running.counts("handshakes_failed_total 1")
    })
    .await;
    ask(&mut two).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_keep_others_out() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let running = serve(volume.path(), &authority).await;
    // Connections that never ask, twice as many as one address may have.
    let mut silent = Vec::new();
    for _ in 0..128 {
        silent.push(running.caller.connect(b"http/1.1").await);
    }
    eventually("a refusal", async || {
        !running.counts("connections_refused_total 0")
    })
    .await;
    // Questions that never end nor say how long they are, each of which takes all places of its address.
    let greedy = IpAddr::from([127, 0, 0, 2]);
    let greedy = running
        .caller
        .http2_from(greedy)
        .await
        .expect("a connection");
    for _ in 0..100 {
        let never = futures_util::stream::pending::<Result<Vec<u8>, Failure>>();
        let mut greedy = greedy.clone();
        tokio::spawn(async move {
            greedy.ready().await?;
            greedy
                .send_request(question(Body::from_stream(never)))
                .await
        });
    }
    eventually("the greedy one's share", async || {
        running.counts("questions 1")
    })
    .await;
    let other = IpAddr::from([127, 0, 0, 3]);
    let mut other = running
        .caller
        .http2_from(other)
        .await
        .expect("a connection");
    ask(&mut other).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_waits_for_what_was_begun() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let Running {
        caller,
        metrics,
        end,
        served,
        ..
    } = serve(volume.path(), &authority).await;
    let mut idle = caller.http2().await.expect("a connection");
    ask(&mut idle).await.expect("an answer");
    // A question of which one half is there.
    let mut sender = caller.http2().await.expect("a connection");
    sender.ready().await.expect("a connection");
    let text = review();
    let (first, second) = text.split_at(text.len() / 2);
    let (more, rest) = oneshot::channel::<Vec<u8>>();
    let first = first.as_bytes().to_vec();
    let halves = futures_util::stream::unfold((Some(first), Some(rest)), |(first, rest)| async {
        match (first, rest) {
            (Some(first), rest) => Some((Ok::<_, Failure>(first), (None, rest))),
            (None, Some(rest)) => Some((rest.await.map_err(Failure::from), (None, None))),
            (None, None) => None,
        }
    });
    let answer = tokio::spawn(sender.send_request(question(Body::from_stream(halves))));
    let begun = async || {
        metrics
            .encode()
            .expect("metrics")
            .contains("webhook_questions 1\n")
    };
    eventually("the first half", begun).await;

    end.send(()).expect("a server");
    // The idle connection is told to go; the other stays until its question is answered.
    eventually("the end of the idle one", async || idle.is_closed()).await;
    assert!(caller.http2().await.is_err(), "a new connection is taken");
    assert!(!served.is_finished());
    more.send(second.as_bytes().to_vec()).expect("a question");
    let answer = answer.await.expect("a task").expect("an answer");
    allowed(answer).await.expect("allowed");
    timeout(PATIENCE, served)
        .await
        .expect("in time")
        .expect("an end");
}
