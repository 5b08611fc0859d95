//! The HTTP ports: who answers (`/`), who asks (`/peer`), readiness (`/ready`), and commands by POST. One request per
//! connection.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc as sync};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::ports::{addresses, listen};
use super::{Command, Service, State};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_REQUEST: u64 = 8 * 1024;

type Commands = mpsc::WeakUnboundedSender<Command>;
type Answer = (&'static str, String);

/// Opens the ports; they close when the set is dropped.
pub(super) fn open(
    service: &Arc<Service>,
    commands: &Commands,
    state: &watch::Receiver<State>,
) -> Result<JoinSet<()>> {
    let mut accepting = JoinSet::new();
    for address in addresses(&service.addresses, &service.http_ports) {
        let listener = listen(address).with_context(|| format!("listening on HTTP {address}"))?;
        accepting.spawn(accept(
            listener,
            service.greeting(),
            commands.clone(),
            state.clone(),
        ));
    }
    Ok(accepting)
}

async fn accept(
    listener: TcpListener,
    greeting: String,
    commands: Commands,
    state: watch::Receiver<State>,
) {
    while let Ok((stream, peer)) = listener.accept().await {
        let (greeting, commands, state) = (greeting.clone(), commands.clone(), state.clone());
        tokio::spawn(async move {
            let exchange = exchange(stream, peer, &greeting, &commands, &state);
            let _ = timeout(PATIENCE, exchange).await;
        });
    }
}

async fn exchange(
    mut stream: TcpStream,
    peer: SocketAddr,
    greeting: &str,
    commands: &Commands,
    state: &watch::Receiver<State>,
) -> Result<()> {
    let mut request = Vec::new();
    let (from, mut to) = stream.split();
    let mut from = from.take(LONGEST_REQUEST);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if from.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let mut words = request.split_ascii_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/peer")) => ("200 OK", format!("{}\n", canonical(peer))),
        (Some("GET"), Some(path)) => get(path, greeting, *state.borrow()),
        (Some("POST"), Some(path)) => post(path, commands).await,
        _ => ("405 Method Not Allowed", String::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await?;
    to.write_all(body.as_bytes()).await?;
    Ok(to.shutdown().await?)
}

/// A socket of both families shows IPv4 as mapped.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

fn get(path: &str, greeting: &str, state: State) -> Answer {
    match path {
        "/" => ("200 OK", greeting.to_owned()),
        "/ready" if state.unready => ("503 Service Unavailable", "not ready\n".to_owned()),
        "/ready" => ("200 OK", "ready\n".to_owned()),
        "/behaviour" => ("200 OK", format!("{}\n", state.behaviour)),
        _ => (
            "404 Not Found",
            "try /, /peer, /ready or /behaviour\n".to_owned(),
        ),
    }
}

async fn post(path: &str, commands: &Commands) -> Answer {
    let (done, answer) = sync::channel();
    let command = match path {
        "/ready" => Command::Ready(true, done),
        "/unready" => Command::Ready(false, done),
        _ => match path.strip_prefix("/behave/").map(str::parse) {
            Some(Ok(behaviour)) => Command::Behave(behaviour, done),
            Some(Err(error)) => return ("400 Bad Request", format!("{error}\n")),
            None => {
                return (
                    "404 Not Found",
                    "try /ready, /unready or /behave/BEHAVIOUR\n".to_owned(),
                );
            }
        },
    };
    let sent = commands
        .upgrade()
        .is_some_and(|commands| commands.send(command).is_ok());
    match spawn_blocking(move || answer.recv()).await {
        Ok(Ok(Ok(()))) if sent => ("200 OK", "done\n".to_owned()),
        Ok(Ok(Err(error))) => ("500 Internal Server Error", format!("{error:#}\n")),
        _ => ("503 Service Unavailable", "ending\n".to_owned()),
    }
}
