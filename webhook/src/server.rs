//! Connections: TLS, then HTTP/2 or 1.1, each with its limits and an end.
//!
//! A connection ends after a while in good order, so callers that keep one for ever spread over
//! replicas again. At the end of the program what was begun is answered first.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tracing::{debug, warn};

use crate::{
    metrics::Metrics,
    peers::{Peer, Shares},
};

/// Connections at once. The API server needs one or two.
const CONNECTIONS: u32 = 512;
/// Those of one address.
const CONNECTIONS_OF_ONE: usize = 64;
/// Questions at once on one connection.
const STREAMS: u32 = 250;
/// How long TLS, and the head of an HTTP/1 request, may take.
const GREETING: Duration = Duration::from_secs(5);
/// How often a quiet caller is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);
/// After so long a connection is asked to end.
const AGE: Duration = Duration::from_secs(15 * 60);
/// How long what was begun may take once it was asked to end.
const DRAIN: Duration = Duration::from_secs(10);
/// A listener that fails is asked again after this long; it lacks descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Server {
    router: Router,
    acceptor: TlsAcceptor,
    builder: Builder<TokioExecutor>,
    metrics: Arc<Metrics>,
}

impl Server {
    pub fn new(router: Router, tls: ServerConfig, metrics: Arc<Metrics>) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(GREETING);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        Self {
            router,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            builder,
            metrics,
        }
    }

    /// Serves until `ended`; returns when everything that was begun is answered.
    pub async fn serve(self, listener: TcpListener, ended: impl Future<Output = ()>) {
        let server = Arc::new(self);
        let seats = Arc::new(Semaphore::new(CONNECTIONS as usize));
        let shares = Shares::of_each(CONNECTIONS_OF_ONE);
        let (ending, end) = watch::channel(false);
        let mut ended = pin!(ended);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut ended => break,
            };
            let (stream, peer) = match accepted {
                Ok((stream, address)) => {
                    // An answer is one small write: waiting for more to send only delays it.
                    let _ = stream.set_nodelay(true);
                    (stream, Peer(address.ip()))
                }
                Err(error) => {
                    warn!("cannot take a connection: {error}");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let share = shares.of(peer).try_acquire_owned();
            let seat = Arc::clone(&seats).try_acquire_owned();
            match (share, seat) {
                (Ok(share), Ok(seat)) => {
                    let server = Arc::clone(&server);
                    let seats = (share, seat);
                    tokio::spawn(server.converse(stream, peer, seats, end.clone()));
                }
                _ => {
                    server.metrics.connections_refused.inc();
                }
            }
        }
        drop(listener);
        ending.send_replace(true);
        if timeout(DRAIN, seats.acquire_many(CONNECTIONS))
            .await
            .is_err()
        {
            warn!("some connections did not end in time");
        }
    }

    async fn converse(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        _seats: (OwnedSemaphorePermit, OwnedSemaphorePermit),
        mut end: watch::Receiver<bool>,
    ) {
        let _open = self.metrics.connected();
        let Ok(Ok(stream)) = timeout(GREETING, self.acceptor.accept(stream)).await else {
            self.metrics.handshakes_failed.inc();
            return;
        };
        let router = self.router.clone().layer(Extension(peer));
        let service = TowerToHyperService::new(router);
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        // An error means that the server is gone, which is an end too.
        let asked = async {
            tokio::select! {
                _ = end.wait_for(|end| *end) => {}
                () = sleep(AGE) => {}
            }
        };
        let outcome = tokio::select! {
            outcome = connection.as_mut() => Some(outcome),
            () = asked => None,
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => {
                connection.as_mut().graceful_shutdown();
                match timeout(DRAIN, connection).await {
                    Ok(outcome) => outcome,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = outcome {
            debug!("a connection broke: {error}");
        }
    }
}
