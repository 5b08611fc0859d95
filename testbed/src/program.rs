//! Programs of socket calls: what an application might do with sockets, as a list of steps whose results are kept.
//!
//! The same program run directly and through Sluice must give the same results, step by step. Sockets are named by
//! the order in which they were made, from 0. A step that fails does not end the program: what comes after a failure
//! is part of the comparison.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::errno::Code;

pub(crate) mod interpreter;
mod interrupted;
pub(crate) mod message;
mod ring;
pub(crate) mod socket;
mod zero_copy;

/// No step waits longer than this; one that would fails with EAGAIN, or EINPROGRESS for a connect.
pub const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    Tcp,
    Udp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    Read,
    Write,
    Both,
}

/// The number of a socket in its program.
pub type Socket = usize;

/// One system call, or a wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Makes the next socket.
    Open {
        family: Family,
        transport: Transport,
        nonblocking: bool,
    },
    /// Makes the next socket, of any kind and protocol of its family, by the kernel's numbers.
    OpenAs {
        family: Family,
        kind: i32,
        protocol: i32,
    },
    /// Whether a v6 socket takes v4-mapped addresses.
    V6Only {
        socket: Socket,
        on: bool,
    },
    Bind {
        socket: Socket,
        address: SocketAddr,
    },
    Connect {
        socket: Socket,
        address: SocketAddr,
    },
    /// A connect that a signal breaks off as soon as it waits.
    ConnectInterrupted {
        socket: Socket,
        address: SocketAddr,
    },
    /// One operation by an `io_uring` of its own.
    ByRing {
        socket: Socket,
        call: RingCall,
    },
    /// Sends by `MSG_ZEROCOPY`, to an address or to the peer, and waits until the kernel needs the data no more.
    SendZeroCopy {
        socket: Socket,
        data: Vec<u8>,
        address: Option<SocketAddr>,
    },
    /// Connect to `AF_UNSPEC`: ends the association of a UDP socket.
    Disconnect {
        socket: Socket,
    },
    /// Waits until a write would not block, as after a connect that is in progress.
    AwaitWritable {
        socket: Socket,
    },
    /// Reads and clears `SO_ERROR`.
    TakeError {
        socket: Socket,
    },
    Send {
        socket: Socket,
        data: Vec<u8>,
    },
    SendTo {
        socket: Socket,
        data: Vec<u8>,
        address: SocketAddr,
    },
    /// One `sendmmsg` of several datagrams, each with an address of its own.
    SendMany {
        socket: Socket,
        messages: Vec<(Vec<u8>, SocketAddr)>,
    },
    /// A `connect` that sends data with the first segment, where the peer has agreed to that before.
    SendFast {
        socket: Socket,
        data: Vec<u8>,
        address: SocketAddr,
    },
    Receive {
        socket: Socket,
        most: usize,
    },
    ReceiveFrom {
        socket: Socket,
        most: usize,
    },
    /// One `recvmsg` with a control buffer; the length is that of the whole datagram, also where it
    /// was cut.
    ReceiveMessage {
        socket: Socket,
        most: usize,
    },
    /// Whether received datagrams say at which own address they arrived.
    PacketInfo {
        socket: Socket,
        on: bool,
    },
    /// Whether errors that the network reports reach a socket that is not connected.
    ReportErrors {
        socket: Socket,
        on: bool,
    },
    ReusePort {
        socket: Socket,
        on: bool,
    },
    PeerName {
        socket: Socket,
    },
    OwnName {
        socket: Socket,
    },
    Shutdown {
        socket: Socket,
        direction: Direction,
    },
    /// Reads the socket's entry in the socket storage map pinned at this path.
    Storage {
        socket: Socket,
        pin: PathBuf,
    },
    Close {
        socket: Socket,
    },
}

/// What an `io_uring` is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RingCall {
    Connect(SocketAddr),
    Send(Vec<u8>),
    /// By `sendmsg`.
    SendTo(Vec<u8>, SocketAddr),
    Receive {
        most: usize,
    },
}

/// What a step that succeeded has shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    Done,
    Opened(Socket),
    Sent(usize),
    Data(Vec<u8>),
    DataFrom(Vec<u8>, SocketAddr),
    Message(Message),
    Name(SocketAddr),
    /// The pending error that `SO_ERROR` held.
    Pending(Code),
    NothingPending,
}

/// What `recvmsg` tells of a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub data: Vec<u8>,
    /// How long it was before it was cut.
    pub length: usize,
    pub cut: bool,
    pub from: Option<SocketAddr>,
    /// The own address where it arrived, if the socket asked for that.
    pub to: Option<IpAddr>,
}

pub type StepResult = Result<Seen, Code>;

impl Step {
    pub fn tcp(family: Family) -> Self {
        Self::Open {
            family,
            transport: Transport::Tcp,
            nonblocking: false,
        }
    }

    pub fn udp(family: Family) -> Self {
        Self::Open {
            family,
            transport: Transport::Udp,
            nonblocking: false,
        }
    }

    pub fn connect(socket: Socket, address: SocketAddr) -> Self {
        Self::Connect { socket, address }
    }

    pub fn send(socket: Socket, data: impl Into<Vec<u8>>) -> Self {
        Self::Send {
            socket,
            data: data.into(),
        }
    }

    pub fn send_to(socket: Socket, data: impl Into<Vec<u8>>, address: SocketAddr) -> Self {
        Self::SendTo {
            socket,
            data: data.into(),
            address,
        }
    }

    pub fn receive_from(socket: Socket) -> Self {
        Self::ReceiveFrom { socket, most: 4096 }
    }

    pub fn receive(socket: Socket) -> Self {
        Self::Receive { socket, most: 4096 }
    }

    pub fn peer_name(socket: Socket) -> Self {
        Self::PeerName { socket }
    }
}

impl Family {
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

impl Seen {
    /// Received data as text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Data(data) | Self::DataFrom(data, _) => std::str::from_utf8(data).ok(),
            _ => None,
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Opened(socket) => write!(f, "socket {socket}"),
            Self::Sent(length) => write!(f, "sent {length}"),
            Self::Data(data) => write!(f, "data \"{}\"", data.escape_ascii()),
            Self::DataFrom(data, from) => write!(f, "data \"{}\" from {from}", data.escape_ascii()),
            Self::Message(message) => write!(f, "{message:?}"),
            Self::Name(name) => write!(f, "name {name}"),
            Self::Pending(code) => write!(f, "pending {code}"),
            Self::NothingPending => f.write_str("nothing pending"),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
