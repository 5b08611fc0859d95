//! How long callers may take. Nothing is waited for: the clock is put forward.

use std::time::Duration;

use tokio::{net::TcpStream, time};

use crate::{
    ending::ask,
    eventually,
    files::{Authority, Volume},
    serve,
};

/// An API server keeps a connection so long that it does not use.
const KEPT: Duration = Duration::from_secs(90);

/// Timers that are set fire as if so much time were over.
async fn later(by: Duration) {
    time::pause();
    time::advance(by).await;
    time::resume();
}

#[tokio::test]
async fn a_connection_outlives_its_place_with_the_api_server() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let running = serve(volume.path(), &authority).await;
    let mut sender = running.caller.http1().await.expect("a connection");
    ask(&mut sender).await;
    later(KEPT).await;
    ask(&mut sender).await;
}

#[tokio::test]
async fn who_says_nothing_at_all_is_let_go() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let running = serve(volume.path(), &authority).await;
    let silent = TcpStream::connect(running.caller.address).await;
    let silent = silent.expect("a connection");
    eventually("the connection", async || running.counts("connections 1")).await;
    later(KEPT / 9).await;
    eventually("its end", async || {
        running.counts("handshakes_failed_total 1")
    })
    .await;
    drop(silent);
}
