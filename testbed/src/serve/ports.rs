//! The echo ports: sockets that are open or closed as the behaviour wants, and what happens on them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Behaviour, Service, State, filter};

const BACKLOG: u32 = 4096;
const BUFFER: usize = 64 * 1024;
/// After an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Ports {
    service: Arc<Service>,
    state: watch::Receiver<State>,
    tcp: Vec<Arc<TcpListener>>,
    udp: Vec<Arc<UdpSocket>>,
    accepting: JoinSet<()>,
    receiving: JoinSet<()>,
}

impl Ports {
    pub(super) fn open(service: &Arc<Service>, state: &watch::Receiver<State>) -> Result<Self> {
        let mut ports = Self {
            service: Arc::clone(service),
            state: state.clone(),
            tcp: Vec::new(),
            udp: Vec::new(),
            accepting: JoinSet::new(),
            receiving: JoinSet::new(),
        };
        ports.open_tcp()?;
        ports.open_udp()?;
        Ok(ports)
    }

    /// Opens, closes or plugs the sockets for this behaviour.
    pub(super) async fn behave(&mut self, behaviour: Behaviour) -> Result<()> {
        if behaviour == Behaviour::Refuse {
            self.tcp.clear();
            self.accepting.shutdown().await;
        } else if self.tcp.is_empty() {
            self.open_tcp()?;
        }
        if matches!(behaviour, Behaviour::Refuse | Behaviour::Reset) {
            self.udp.clear();
            self.receiving.shutdown().await;
        } else if self.udp.is_empty() {
            self.open_udp()?;
        }
        let sockets = self
            .tcp
            .iter()
            .map(|socket| socket.as_fd())
            .chain(self.udp.iter().map(|socket| socket.as_fd()));
        for socket in sockets {
            if behaviour == Behaviour::BlackHole {
                filter::swallow(socket).context("attaching a socket filter")?;
            } else {
                filter::let_through(socket)?;
            }
        }
        Ok(())
    }

    fn open_tcp(&mut self) -> Result<()> {
        for address in addresses(&self.service.addresses, &self.service.ports) {
            let listener =
                Arc::new(listen(address).with_context(|| format!("listening on TCP {address}"))?);
            self.tcp.push(Arc::clone(&listener));
            self.accepting.spawn(accept(
                listener,
                self.service.greeting_at(address).into(),
                self.state.clone(),
            ));
        }
        Ok(())
    }

    fn open_udp(&mut self) -> Result<()> {
        for address in addresses(&self.service.addresses, &self.service.ports) {
            let socket = bind(address).with_context(|| format!("listening on UDP {address}"))?;
            let socket = Arc::new(socket);
            self.udp.push(Arc::clone(&socket));
            self.receiving.spawn(receive(
                socket,
                self.service.greeting_at(address),
                self.state.clone(),
            ));
        }
        Ok(())
    }
}

pub(super) fn addresses(addresses: &[IpAddr], ports: &[u16]) -> Vec<SocketAddr> {
    ports
        .iter()
        .flat_map(|port| {
            addresses
                .iter()
                .map(|address| SocketAddr::new(*address, *port))
        })
        .collect()
}

pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

async fn accept(listener: Arc<TcpListener>, greeting: Arc<str>, state: watch::Receiver<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let behaviour = state.borrow().behaviour;
        if behaviour == Behaviour::Reset {
            let _ = stream.set_zero_linger();
            continue;
        }
        // Detached on purpose: a connection that is being served outlives the closing of its port.
        tokio::spawn(converse(stream, Arc::clone(&greeting), behaviour));
    }
}

/// Serves one connection; that the peer is gone is its end, not an error.
async fn converse(mut stream: TcpStream, greeting: Arc<str>, behaviour: Behaviour) {
    let mut buffer = vec![0; BUFFER];
    match behaviour {
        Behaviour::Hang => {
            while stream
                .read(&mut buffer)
                .await
                .is_ok_and(|length| length > 0)
            {}
            return;
        }
        Behaviour::Slow(delay) => sleep(delay).await,
        Behaviour::Answer | Behaviour::Refuse | Behaviour::Reset | Behaviour::BlackHole => {}
    }
    let _ = stream.set_nodelay(true);
    if stream.write_all(greeting.as_bytes()).await.is_err() {
        return;
    }
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn receive(socket: Arc<UdpSocket>, greeting: String, state: watch::Receiver<State>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        // An error here is that of an earlier answer, whose receiver is gone.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answer = [greeting.as_bytes(), &buffer[..length]].concat();
        match state.borrow().behaviour {
            Behaviour::Hang | Behaviour::Refuse | Behaviour::Reset => continue,
            Behaviour::Slow(delay) => {
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    sleep(delay).await;
                    let _ = socket.send_to(&answer, peer).await;
                });
                continue;
            }
            Behaviour::Answer | Behaviour::BlackHole => {}
        }
        let _ = socket.send_to(&answer, peer).await;
    }
}
