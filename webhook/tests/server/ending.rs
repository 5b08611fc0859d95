//! What callers notice of a server that is about to end: that they are told, before a connection is closed to them.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use hyper::client::conn::{http1, http2};
use sluice_webhook::{metrics::Metrics, router, server::Server, tls::Certificates};
use tokio::{net::TcpListener, sync::oneshot, time::timeout};

use crate::{
    PATIENCE,
    client::{Caller, allowed, question},
    eventually,
    files::{Authority, Volume, now},
    patient, review, reviews,
};

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_told_to_go_before_they_are_cut_off() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let metrics = Arc::new(Metrics::default());
    let certificates = Certificates::new(volume.path().to_owned(), None, Arc::clone(&metrics));
    certificates.reload(now());
    let router = router(&reviews::store(), &metrics, &patient());
    let server = Server::new(
        router,
        certificates.server_config().expect("TLS"),
        Arc::clone(&metrics),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let caller = Caller {
        address: listener.local_addr().expect("an address"),
        roots: authority.roots(),
        shows: None,
    };
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(server.serve(listener, async { drop(ended.await) }, FOR_EVER));

    let mut one = caller.http1().await.expect("a connection");
    assert_eq!(ask(&mut one).await.get(header::CONNECTION), None);
    let mut two = caller.http2().await.expect("a connection");
    by_http2(&mut two).await;
    end.send(()).expect("a server");

    // By HTTP/2 there is a word for it.
    eventually("the end of that", async || two.is_closed()).await;
    // By HTTP/1.1 only an answer can say it: until one does, the connection is there.
    let told = async {
        loop {
            let head = ask(&mut one).await;
            if let Some(word) = head.get(header::CONNECTION) {
                return word.clone();
            }
        }
    };
    let told = timeout(PATIENCE, told).await.expect("in time");
    assert_eq!(told, "close");
    eventually("the end of this one", async || one.is_closed()).await;

    // Who comes now has not heard of it yet.
    let mut late = caller.http1().await.expect("a connection");
    ask(&mut late).await;
    let mut late = caller.http2().await.expect("a connection");
    by_http2(&mut late).await;
}

async fn by_http2(sender: &mut http2::SendRequest<Body>) {
    sender.ready().await.expect("a connection");
    let answer = sender.send_request(question(review())).await;
    allowed(answer.expect("an answer")).await.expect("allowed");
}

/// The head of an answer that allows.
pub(crate) async fn ask(sender: &mut http1::SendRequest<Body>) -> HeaderMap {
    sender.ready().await.expect("a connection");
    let answer = sender.send_request(question(review())).await;
    let answer = answer.expect("an answer");
    let head = answer.headers().clone();
    allowed(answer).await.expect("allowed");
    head
}
