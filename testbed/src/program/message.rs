//! Calls that carry more than data and an address: several datagrams at once, and control messages.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    self as sys, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, sockopt,
};

use super::Message;
use super::socket::address;

/// One `sendmmsg`; says how many datagrams went out.
pub(crate) fn send_many(
    socket: &OwnedFd,
    messages: &[(Vec<u8>, SocketAddr)],
) -> Result<usize, Errno> {
    let slices: Vec<_> = messages
        .iter()
        .map(|(data, _)| [IoSlice::new(data)])
        .collect();
    let addresses: Vec<_> = messages
        .iter()
        .map(|(_, address)| Some(SockaddrStorage::from(*address)))
        .collect();
    let mut headers = MultiHeaders::preallocate(messages.len(), None);
    let sent = sys::sendmmsg(
        socket.as_raw_fd(),
        &mut headers,
        &slices,
        &addresses,
        [],
        MsgFlags::MSG_NOSIGNAL,
    )?;
    Ok(sent.count())
}

pub(crate) fn packet_info(socket: &OwnedFd, on: bool) -> Result<(), Errno> {
    sys::setsockopt(socket, sockopt::Ipv4PacketInfo, &on)?;
    match sys::setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &on) {
        // A v4 socket has no such option.
        Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => Ok(()),
        other => other,
    }
}

pub(crate) fn receive(socket: &OwnedFd, most: usize) -> Result<Message, Errno> {
    let mut data = vec![0; most];
    let mut slices = [IoSliceMut::new(&mut data)];
    let mut control = cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let received = sys::recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_TRUNC,
    )?;
    let to = received.cmsgs()?.find_map(|message| arrived_at(&message));
    let (length, flags) = (received.bytes, received.flags);
    let from = received.address.as_ref().and_then(address);
    data.truncate(length);
    Ok(Message {
        data,
        length,
        cut: flags.contains(MsgFlags::MSG_TRUNC),
        from,
        to,
    })
}

fn arrived_at(message: &ControlMessageOwned) -> Option<IpAddr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::program::interpreter::run;
    use crate::program::{Family, Seen, Step};

    #[test]
    fn several_datagrams_go_out_at_once_and_a_long_one_is_cut() {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = peer.local_addr().unwrap();
        let echo = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            for _ in 0..2 {
                let (length, from) = peer.recv_from(&mut buffer).unwrap();
                peer.send_to(&buffer[..length], from).unwrap();
            }
        });
        let results = run(&[
            Step::udp(Family::V4),
            Step::PacketInfo {
                socket: 0,
                on: true,
            },
            Step::SendMany {
                socket: 0,
                messages: vec![(b"one".to_vec(), to), (b"three".to_vec(), to)],
            },
            Step::ReceiveMessage {
                socket: 0,
                most: 100,
            },
            Step::ReceiveMessage { socket: 0, most: 2 },
        ]);
        echo.join().unwrap();
        let message = |data: &[u8], length: usize| {
            Ok(Seen::Message(Message {
                data: data.to_vec(),
                length,
                cut: length > data.len(),
                from: Some(to),
                to: Some(Ipv4Addr::LOCALHOST.into()),
            }))
        };
        assert_eq!(
            results[2..],
            [Ok(Seen::Sent(2)), message(b"one", 3), message(b"th", 5)]
        );
    }
}
