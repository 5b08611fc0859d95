//! Connections: TLS, then HTTP/2 or 1.1, each with its limits and an end.
//!
//! A connection ends after a while in good order, so callers that keep one for ever spread over
//! replicas again. At the end of the program what was begun is answered first.
//!
//! **Good order**: a caller that is not told writes its next question into a connection that has just been
//! closed, and cannot know whether it was heard. By HTTP/2 it is told by GOAWAY; by HTTP/1.1, which API servers speak
//! to webhooks, only an answer can say so. So a connection of that kind is closed by its next answer.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderValue, Version, header},
    middleware::{self, Next},
    response::Response,
};
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
/// How long TLS may take: who opens a connection and says nothing has it no longer.
const GREETING: Duration = Duration::from_secs(5);
/// How long the head of an HTTP/1 request may be in coming, from the answer before it or from TLS. An API server keeps
/// a connection for 90 s that it does not use, even one it has not asked over yet; closed to it before, its next
/// question is lost.
const IDLE: Duration = Duration::from_secs(120);
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

/// How near the end is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// Callers are told to go elsewhere, and answered.
    Leaving,
    Closed,
}

/// Whether a connection is to end with its next answer.
#[derive(Clone, Default)]
struct Farewell(Arc<AtomicBool>);

impl Server {
    pub fn new(router: Router, tls: ServerConfig, metrics: Arc<Metrics>) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE);
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

    /// Serves until `asked` to end, and for so long after it; returns when everything that was begun is answered.
    pub async fn serve(
        self,
        listener: TcpListener,
        asked: impl Future<Output = ()>,
        linger: Duration,
    ) {
        let server = Arc::new(self);
        let seats = Arc::new(Semaphore::new(CONNECTIONS as usize));
        let shares = Shares::of_each(CONNECTIONS_OF_ONE);
        let (stage, seen) = watch::channel(Stage::Open);
        let mut ended = pin!(async {
            asked.await;
            stage.send_replace(Stage::Leaving);
            sleep(linger).await;
        });
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
                    tokio::spawn(server.converse(stream, peer, seats, seen.clone()));
                }
                _ => {
                    server.metrics.connections_refused.inc();
                }
            }
        }
        drop(listener);
        stage.send_replace(Stage::Closed);
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
        mut stage: watch::Receiver<Stage>,
    ) {
        let _open = self.metrics.connected();
        let Ok(Ok(stream)) = timeout(GREETING, self.acceptor.accept(stream)).await else {
            self.metrics.handshakes_failed.inc();
            return;
        };
        let farewell = Farewell::default();
        let told = middleware::from_fn_with_state(farewell.clone(), Farewell::add);
        let router = self.router.clone().layer(Extension(peer)).layer(told);
        let service = TowerToHyperService::new(router);
        // It is known which it is: waiting for the first bytes to find out, a connection would end unheard.
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let builder = match is_http2 {
            true => self.builder.clone().http2_only(),
            false => self.builder.clone().http1_only(),
        };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        // Who comes now was sent here in spite of it all, and asks at least once.
        let came_late = *stage.borrow() != Stage::Open;
        let outcome = tokio::select! {
            outcome = connection.as_mut() => Some(outcome),
            () = reached(&mut stage, Stage::Leaving) => None,
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => {
                farewell.say();
                if is_http2 && !came_late {
                    connection.as_mut().graceful_shutdown();
                }
                tokio::select! {
                    outcome = connection.as_mut() => outcome,
                    () = reached(&mut stage, Stage::Closed) => {
                        connection.as_mut().graceful_shutdown();
                        match timeout(DRAIN, connection).await {
                            Ok(outcome) => outcome,
                            Err(_) => return,
                        }
                    }
                }
            }
        };
        if let Err(error) = outcome {
            debug!("a connection broke: {error}");
        }
    }
}

/// Waits for this stage; a connection reaches each by its age, too.
async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // An error means that the server is gone, which is an end too.
    let _ = timeout(AGE, stage.wait_for(|stage| *stage >= wanted)).await;
}

impl Farewell {
    fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The middleware that says it, where a header is the way to.
    async fn add(State(farewell): State<Self>, request: Request, next: Next) -> Response {
        let by_header = request.version() < Version::HTTP_2;
        let mut response = next.run(request).await;
        if by_header && farewell.0.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}
