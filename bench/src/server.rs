//! The one server behind all Services of all arms: every address of a range is its own, by a local route.
//!
//! On [`PLAIN`] nobody waits in accept while connects are measured: the kernel completes the handshake and queues the
//! connection, and the queue is emptied between two measurements. So a connect pays for itself, and not for waking
//! somebody up. On [`NAMED`] each connection is told which address it reached.

use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use serde::{Deserialize, Serialize};
use sluice_testbed::node::Node;
use std::os::fd::AsRawFd as _;

use crate::partner::{self, Partner};

pub(crate) const ROLE: &str = "sluice-bench-server";
pub(crate) const PLAIN: u16 = 8080;
pub(crate) const NAMED: u16 = 8081;

/// How many connections may wait to be accepted: more than are made between two times that they are.
const QUEUE: u16 = 65_535;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Forget the connections that wait.
    Drain,
}

#[derive(Debug)]
pub(crate) struct Server(Partner<Order, u32>);

impl Server {
    /// Starts on a node, which gets all addresses of the range.
    pub(crate) fn start(node: &Node, range: (Ipv4Addr, u8)) -> Result<Self> {
        let netns = node.netns();
        netns.sysctl("core/somaxconn", &QUEUE.to_string())?;
        // Of an address on the loopback, the kernel takes the whole prefix for local.
        netns.links(|links| links.address("lo", IpAddr::V4(range.0), range.1))?;
        let mut server = Partner::start(node.command_again("server")?.arg(ROLE))?;
        server.ask(&Order::Drain).context("starting the server")?;
        Ok(Self(server))
    }

    /// Empties the queue of connections.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.0.ask(&Order::Drain).map(drop)
    }
}

/// What a process in this role does.
pub(crate) fn run() -> Result<()> {
    let plain = listen(PLAIN)?;
    plain.set_nonblocking(true)?;
    let named = listen(NAMED)?;
    thread::spawn(move || {
        for mut connection in named.incoming().flatten() {
            if let Ok(address) = connection.local_addr() {
                // Who asked may be gone.
                let _ = writeln!(connection, "{}", address.ip());
            }
        }
    });
    partner::serve(|order| match order {
        Order::Drain => drain(&plain),
    })
}

fn listen(port: u16) -> Result<TcpListener> {
    let socket = socket::socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let [a, b, c, d] = Ipv4Addr::UNSPECIFIED.octets();
    socket::bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, port))
        .with_context(|| format!("binding port {port}"))?;
    // As many as the namespace allows; the constant of the C library is 4,096.
    socket::listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket.into())
}

/// How many there were.
fn drain(listener: &TcpListener) -> Result<u32> {
    let mut count = 0;
    loop {
        match listener.accept() {
            Ok(_) => count += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
            // A connection that was reset while it waited.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
