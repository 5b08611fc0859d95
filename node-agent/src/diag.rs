//! The kernel's socket diagnosis (`sock_diag`) of one network namespace: lists sockets, of TCP ones what
//! our programs keep in them too, and ends single ones.
//!
//! A [`Diag`] belongs to the namespace that the thread was in when it was opened, wherever the thread
//! goes later. Answers come as netlink messages whose attributes are read by hand: there are
//! few kinds that matter.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::sys::socket::{MsgFlags, recv, send};
use sluice_node_abi::values::Socket;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Attribute of a request: which socket storages to tell.
const REQ_SK_BPF_STORAGES: u16 = 2;
const REQ_MAP_FD: u16 = 1;
/// Attributes of an answer, from the outside to the inside.
const SK_BPF_STORAGES: u16 = 20;
const SK_BPF_STORAGE: u16 = 1;
const STORAGE_VALUE: u16 = 3;
/// Attribute of an answer, beside that: since Linux 5.8.
const CGROUP_ID: u16 = 21;
/// Flags above an attribute's kind.
const KIND: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

/// Bits of TCP's states, which connected UDP sockets have one of: established, opening, and closed by the
/// peer alone.
const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 8;

/// Larger than any answer, which the kernel cuts to what a receiver offers.
const BUFFER: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn number(self) -> u8 {
        match self {
            Self::V4 => libc::AF_INET as u8,
            Self::V6 => libc::AF_INET6 as u8,
        }
    }
}

impl Protocol {
    const fn number(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}

/// A connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    family: Family,
    pub protocol: Protocol,
    id: Id,
    /// What our programs keep in it, if they sent it anywhere.
    pub state: Option<Socket>,
    /// The id of the cgroup that it was made in.
    pub cgroup: Option<u64>,
}

impl Connected {
    pub fn own(&self) -> SocketAddr {
        self.address(self.id.source, self.id.source_port)
    }

    /// Where the kernel sends to.
    pub fn peer(&self) -> SocketAddr {
        self.address(self.id.destination, self.id.destination_port)
    }

    fn address(&self, address: [u8; 16], port: [u8; 2]) -> SocketAddr {
        let ip = match self.family {
            Family::V4 => {
                let [a, b, c, d, ..] = address;
                IpAddr::from(Ipv4Addr::new(a, b, c, d))
            }
            Family::V6 => Ipv6Addr::from(address).to_canonical(),
        };
        SocketAddr::new(ip, u16::from_be_bytes(port))
    }

    /// Never given out twice by one kernel.
    pub fn cookie(&self) -> u64 {
        let [low, high] = self.id.cookie.map(u64::from);
        high << 32 | low
    }
}

/// `nlmsghdr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    sender: u32,
}

/// `inet_diag_sockid`. IPv4 addresses are in the first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Id {
    source_port: [u8; 2],
    destination_port: [u8; 2],
    source: [u8; 16],
    destination: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `nlmsghdr` and `inet_diag_req_v2`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    header: Header,
    family: u8,
    protocol: u8,
    extensions: u8,
    reserved: u8,
    states: u32,
    id: Id,
}

/// The request's attribute, with the one inside it.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct WantStorage {
    length: u16,
    kind: u16,
    inner_length: u16,
    inner_kind: u16,
    map: u32,
}

/// `inet_diag_msg`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Answer {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: Id,
    numbers: [u32; 5],
}

pub struct Diag(OwnedFd);

impl Diag {
    /// Of the network namespace that this thread is in.
    pub fn open() -> io::Result<Self> {
        // SAFETY: a plain system call; the descriptor is owned at once.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
                libc::NETLINK_SOCK_DIAG,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Every connected socket, with its entry in the socket storage `map`; the kernel tells that of TCP
    /// sockets only.
    pub fn connected(
        &self,
        family: Family,
        protocol: Protocol,
        map: BorrowedFd<'_>,
    ) -> io::Result<Vec<Connected>> {
        let mut request = request(SOCK_DIAG_BY_FAMILY, family, protocol);
        request.header.flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        request.header.length = (size_of::<Request>() + size_of::<WantStorage>()) as u32;
        request.states = CONNECTED;
        let want = WantStorage {
            length: size_of::<WantStorage>() as u16,
            kind: REQ_SK_BPF_STORAGES | NESTED,
            inner_length: 8,
            inner_kind: REQ_MAP_FD,
            map: map.as_raw_fd() as u32,
        };
        self.send(&[request.as_bytes(), want.as_bytes()].concat())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((header, payload, next)) = message(rest) {
                rest = next;
                match header.kind {
                    DONE => return outcome(payload).map(|()| found),
                    ERROR => outcome(payload)?,
                    _ => found.extend(connected(family, protocol, payload)),
                }
            }
        }
    }

    /// Ends a socket, as if the network had: its owner reads ECONNABORTED. `false` if it was gone
    /// already.
    pub fn end(&self, socket: &Connected) -> io::Result<bool> {
        let mut request = request(SOCK_DESTROY, socket.family, socket.protocol);
        request.header.flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        request.states = u32::MAX;
        request.id = socket.id;
        match self.ask(&request) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel knows how to end a socket: asks it to end one that cannot exist.
    pub fn can_end(&self) -> io::Result<bool> {
        let mut request = request(SOCK_DESTROY, Family::V4, Protocol::Tcp);
        request.header.flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        request.states = u32::MAX;
        request.id.cookie = [u32::MAX; 2];
        match self.ask(&request) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Err(io::Error::other(
                "a socket between port 0 and port 0 was destroyed",
            )),
        }
    }

    /// A request that is answered by an error number, which may be 0.
    fn ask(&self, request: &Request) -> io::Result<()> {
        self.send(request.as_bytes())?;
        let mut buffer = vec![0; BUFFER];
        let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        match message(&buffer[..length]) {
            Some((header, payload, _)) if header.kind == ERROR => outcome(payload),
            _ => Err(short()),
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), message, MsgFlags::empty())?;
        Ok(())
    }
}

impl AsFd for Diag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn request(kind: u16, family: Family, protocol: Protocol) -> Request {
    let mut request = Request::new_zeroed();
    request.header.length = size_of::<Request>() as u32;
    request.header.kind = kind;
    request.family = family.number();
    request.protocol = protocol.number();
    request
}

/// The first message of what was received: its header, its payload, and what follows.
fn message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let (header, _) = Header::read_from_prefix(bytes).ok()?;
    let length = header.length as usize;
    let payload = bytes.get(size_of::<Header>()..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((header, payload, next))
}

/// The error number, negative, at the start of a final message.
fn outcome(payload: &[u8]) -> io::Result<()> {
    match i32::read_from_prefix(payload) {
        Ok((0, _)) => Ok(()),
        Ok((number, _)) => Err(io::Error::from_raw_os_error(-number)),
        Err(_) => Err(short()),
    }
}

fn connected(family: Family, protocol: Protocol, payload: &[u8]) -> Option<Connected> {
    let (answer, attributes) = Answer::read_from_prefix(payload).ok()?;
    let storages = attribute(attributes, SK_BPF_STORAGES);
    let storage = storages.and_then(|inside| attribute(inside, SK_BPF_STORAGE));
    let value = storage.and_then(|inside| attribute(inside, STORAGE_VALUE));
    Some(Connected {
        family,
        protocol,
        id: answer.id,
        state: value.and_then(|value| Socket::read_from_bytes(value).ok()),
        cgroup: attribute(attributes, CGROUP_ID).and_then(|id| u64::read_from_bytes(id).ok()),
    })
}

/// The content of the first attribute of this kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let ([length, kind], _) = <[u16; 2]>::read_from_prefix(bytes).ok()?;
        let content = bytes.get(4..usize::from(length))?;
        if kind & KIND == wanted {
            return Some(content);
        }
        bytes = bytes.get(usize::from(length).next_multiple_of(4)..)?;
    }
}

fn short() -> io::Error {
    io::Error::other("a short answer from sock_diag")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: u16, content: &[u8]) -> Vec<u8> {
        let length = (4 + content.len()) as u16;
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn attributes_are_found_by_kind_whatever_their_flags_and_lengths() {
        let bytes = [
            written(7, b"odd"),
            written(9 | NESTED, &written(1, b"inside")),
            written(8, b""),
        ]
        .concat();
        assert_eq!(attribute(&bytes, 7), Some(&b"odd"[..]));
        let inside = attribute(&bytes, 9).and_then(|inside| attribute(inside, 1));
        assert_eq!(inside, Some(&b"inside"[..]));
        assert_eq!(attribute(&bytes, 8), Some(&b""[..]));
        assert_eq!(attribute(&bytes, 1), None);
    }

    #[test]
    fn cut_answers_are_no_answers() {
        let whole = written(7, b"content");
        for length in 0..whole.len() - 1 {
            assert_eq!(attribute(&whole[..length], 7), None, "{length}");
        }
        // A length that does not even cover itself must not make the search go round for ever.
        assert_eq!(attribute(&[0, 0, 1, 0, 0, 0, 7, 0], 7), None);
        assert_eq!(message(&[0; 15]).map(|found| found.1), None);
        assert!(outcome(&[1, 0]).is_err());
    }
}
