//! The system calls on sockets, thinly: each fails with the kernel's own number.

use std::mem::size_of;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    self as sys, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::{Family, PATIENCE, Transport};

pub(crate) fn open(
    family: Family,
    transport: Transport,
    nonblocking: bool,
) -> Result<OwnedFd, Errno> {
    let family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let kind = match transport {
        Transport::Tcp => SockType::Stream,
        Transport::Udp => SockType::Datagram,
    };
    let flags = if nonblocking {
        SockFlag::SOCK_NONBLOCK
    } else {
        SockFlag::empty()
    };
    let socket = sys::socket(family, kind, flags | SockFlag::SOCK_CLOEXEC, None)?;
    set_patience(&socket, PATIENCE)?;
    Ok(socket)
}

pub(crate) fn open_as(family: Family, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let family = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    // SAFETY: a call with numbers alone.
    let opened = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    let opened = Errno::result(opened)?;
    // SAFETY: the kernel has just given this descriptor, to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(opened) };
    set_patience(&socket, PATIENCE)?;
    Ok(socket)
}

/// Bounds every blocking call on the socket, connect included.
pub(crate) fn set_patience(socket: &OwnedFd, patience: Duration) -> Result<(), Errno> {
    let patience = TimeVal::microseconds(i64::try_from(patience.as_micros()).unwrap_or(i64::MAX));
    sys::setsockopt(socket, sockopt::ReceiveTimeout, &patience)?;
    sys::setsockopt(socket, sockopt::SendTimeout, &patience)
}

/// Makes a close send a reset: the client's port is free again at once, where it would wait for a minute.
pub(crate) fn reset_on_close(socket: &OwnedFd) -> Result<(), Errno> {
    sys::setsockopt(
        socket,
        sockopt::Linger,
        &libc::linger {
            l_onoff: 1,
            l_linger: 0,
        },
    )
}

pub(crate) fn v6_only(socket: &OwnedFd, on: bool) -> Result<(), Errno> {
    sys::setsockopt(socket, sockopt::Ipv6V6Only, &on)
}

pub(crate) fn bind(socket: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    sys::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

pub(crate) fn connect(socket: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    sys::connect(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

pub(crate) fn disconnect(socket: &OwnedFd) -> Result<(), Errno> {
    let family = libc::sa_family_t::try_from(libc::AF_UNSPEC).map_err(|_| Errno::EINVAL)?;
    let nowhere = libc::sockaddr {
        sa_family: family,
        sa_data: [0; 14],
    };
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the address lives through the call and is as long as said.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &raw const nowhere, length) };
    Errno::result(result).map(drop)
}

pub(crate) fn await_writable(socket: &OwnedFd) -> Result<(), Errno> {
    let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let patience = PollTimeout::try_from(PATIENCE).map_err(|_| Errno::EINVAL)?;
    if poll(&mut wanted, patience)? == 0 {
        Err(Errno::EAGAIN)
    } else {
        Ok(())
    }
}

pub(crate) fn take_error(socket: &OwnedFd) -> Result<i32, Errno> {
    sys::getsockopt(socket, sockopt::SocketError)
}

pub(crate) fn send(socket: &OwnedFd, data: &[u8]) -> Result<usize, Errno> {
    sys::send(socket.as_raw_fd(), data, MsgFlags::MSG_NOSIGNAL)
}

pub(crate) fn send_to(socket: &OwnedFd, data: &[u8], address: SocketAddr) -> Result<usize, Errno> {
    sys::sendto(
        socket.as_raw_fd(),
        data,
        &SockaddrStorage::from(address),
        MsgFlags::MSG_NOSIGNAL,
    )
}

/// Sends with the connect's first segment, if the kernel knows the peer to take that; else connects first.
pub(crate) fn send_fast(
    socket: &OwnedFd,
    data: &[u8],
    address: SocketAddr,
) -> Result<usize, Errno> {
    sys::sendto(
        socket.as_raw_fd(),
        data,
        &SockaddrStorage::from(address),
        MsgFlags::from_bits_retain(libc::MSG_FASTOPEN) | MsgFlags::MSG_NOSIGNAL,
    )
}

pub(crate) fn reuse_port(socket: &OwnedFd, on: bool) -> Result<(), Errno> {
    sys::setsockopt(socket, sockopt::ReusePort, &on)
}

/// For both families: datagrams of a v6 socket may be IPv4.
pub(crate) fn report_errors(socket: &OwnedFd, on: bool) -> Result<(), Errno> {
    sys::setsockopt(socket, sockopt::Ipv4RecvErr, &on)?;
    match sys::setsockopt(socket, sockopt::Ipv6RecvErr, &on) {
        // A v4 socket has no such option.
        Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => Ok(()),
        other => other,
    }
}

pub(crate) fn receive(socket: &OwnedFd, most: usize) -> Result<Vec<u8>, Errno> {
    let mut data = vec![0; most];
    let length = sys::recv(socket.as_raw_fd(), &mut data, MsgFlags::empty())?;
    data.truncate(length);
    Ok(data)
}

pub(crate) fn receive_from(socket: &OwnedFd, most: usize) -> Result<(Vec<u8>, SocketAddr), Errno> {
    let mut data = vec![0; most];
    let (length, from) = sys::recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut data)?;
    data.truncate(length);
    Ok((
        data,
        from.and_then(|from| address(&from))
            .ok_or(Errno::EAFNOSUPPORT)?,
    ))
}

pub(crate) fn peer_name(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    address(&sys::getpeername(socket.as_raw_fd())?).ok_or(Errno::EAFNOSUPPORT)
}

pub(crate) fn own_name(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    address(&sys::getsockname(socket.as_raw_fd())?).ok_or(Errno::EAFNOSUPPORT)
}

pub(super) fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| {
        storage
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A TCP port of loopback that refuses, and that nobody else can get while the socket lives.
    pub(crate) fn closed_port() -> (OwnedFd, SocketAddr) {
        let socket = open(Family::V4, Transport::Tcp, false).unwrap();
        bind(&socket, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = own_name(&socket).unwrap();
        (socket, address)
    }
}
