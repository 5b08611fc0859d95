//! Where callers need a certificate: who has one is answered, as long as its authority is believed.

use std::fs;

use tokio_rustls::rustls::HandshakeKind;

use crate::{
    ask, eventually,
    files::{Authority, Pair, Volume, now},
    serve, serve_only,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_callers_are_known_nobody_else_is_answered() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let (own, foreign, next) = (Authority::new(), Authority::new(), Authority::new());
    let file = volume.path().join("client-ca.crt");
    let callers = Some((file.clone(), vec!["api-server".to_owned()]));
    let running = serve_only(volume.path(), &authority, callers).await;
    let known = own.caller("api-server");
    let asks = async |shows: Option<&Pair>| {
        let caller = running.caller.showing(shows);
        let mut sender = caller.http2().await?;
        ask(&mut sender).await
    };
    // Without authorities nobody is let in, and no probe calls that ready.
    assert!(asks(Some(&known)).await.is_err());
    let ready = running.certificates.is_valid(now());
    assert!(
        ready.is_err_and(|text| text.contains("client-ca.crt") || text.contains("authorities"))
    );

    fs::write(&file, own.pem()).expect("written");
    eventually("the authority", async || asks(Some(&known)).await.is_ok()).await;
    assert_eq!(running.certificates.is_valid(now()), Ok(()));
    for stranger in [
        None,
        Some(foreign.caller("api-server")),
        Some(own.caller("somebody")),
        Some(own.caller("")),
    ] {
        assert!(asks(stranger.as_ref()).await.is_err());
    }
    // A file that is broken changes nothing, another authority takes the place of the first.
    fs::write(&file, "nothing").expect("written");
    running.certificates.reload(now());
    asks(Some(&known)).await.expect("an answer");
    fs::write(&file, next.pem()).expect("written");
    let promoted = next.caller("api-server");
    eventually("the next authority", async || {
        asks(Some(&promoted)).await.is_ok()
    })
    .await;
    assert!(asks(Some(&known)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_caller_shows_its_certificate_each_time() {
    let (authority, mut volume) = (Authority::new(), Volume::empty());
    volume.put(&authority.issue(1));
    let own = Authority::new();
    let file = volume.path().join("client-ca.crt");
    fs::write(&file, own.pem()).expect("written");
    let closed = serve_only(volume.path(), &authority, Some((file, Vec::new()))).await;
    let open = serve(volume.path(), &authority).await;
    for (running, kind) in [
        (open, HandshakeKind::Resumed),
        (closed, HandshakeKind::Full),
    ] {
        let caller = running.caller.showing(Some(&own.caller("api-server")));
        let config = caller.config(b"h2").expect("TLS");
        // With an answer has come whatever a session could be taken up with.
        let mut sender = caller.http2_as(&config).await.expect("a connection");
        ask(&mut sender).await.expect("an answer");
        let stream = caller.again(&config).await.expect("a connection");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
    }
}
