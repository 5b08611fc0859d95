//! A server that writes down what it hears: HTTP and an echo of datagrams, in a pod's network.
//!
//! Its sockets are made inside the pod's namespace and belong to it; whoever serves them is a thread of the test.

use std::{
    mem,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, Method, Uri},
};
use sluice_testbed::pod::Pod;
use tokio::{runtime::Builder, sync::oneshot};

pub(super) const HTTP: u16 = 8080;
pub(super) const ECHO: u16 = 8081;
const LONGEST: usize = 2_048;

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

/// Dropping it ends it.
pub(super) struct Server {
    heard: Heard,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    pub(super) fn start(pod: &Pod) -> Result<Self> {
        let heard = Heard::default();
        let (stop, stopped) = oneshot::channel();
        let (listener, socket) = pod.netns().run(|| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, HTTP))?;
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, ECHO))?;
            listener.set_nonblocking(true)?;
            socket.set_nonblocking(true)?;
            Ok((listener, socket))
        })?;
        let thread = thread::spawn({
            let heard = heard.clone();
            move || serve(listener, socket, &heard, stopped)
        });
        Ok(Self {
            heard,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What was heard since the last time, in order.
    pub(super) fn heard(&self) -> Vec<String> {
        mem::take(&mut *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the zoo's server has failed: {error:#}");
        }
    }
}

impl Heard {
    fn note(&self, line: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

fn serve(
    listener: TcpListener,
    socket: UdpSocket,
    heard: &Heard,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let app = Router::new().fallback(answer).with_state(heard.clone());
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::select! {
            served = axum::serve(listener, app).into_future() => served.context("HTTP"),
            echoed = echo(tokio::net::UdpSocket::from_std(socket)?, heard) => echoed,
            _ = stopped => Ok(()),
        }
    })
}

async fn answer(
    State(heard): State<Heard>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> String {
    let mut headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
        .collect();
    headers.sort_unstable();
    let (from, headers) = (ip(from), headers.join(", "));
    let body = String::from_utf8_lossy(&body);
    heard.note(format!("{method} {uri} from {from} [{headers}] {body:?}"));
    format!("{uri} heard {} bytes", body.len())
}

async fn echo(socket: tokio::net::UdpSocket, heard: &Heard) -> Result<()> {
    let mut buffer = [0; LONGEST];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        let said = &buffer[..length];
        heard.note(format!(
            "{:?} from {}",
            String::from_utf8_lossy(said),
            ip(from)
        ));
        socket.send_to(said, from).await?;
    }
}

/// Without the port, which is another each time.
fn ip(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}
