//! Carries out a program of socket calls in this process.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd as _;

use super::{
    Direction, Seen, Socket, Step, StepResult, interrupted, message, ring, socket, zero_copy,
};
use crate::bpf;
use crate::errno::Code;

/// The sockets of a program, open until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<Option<OwnedFd>>);

/// Runs all steps; the sockets that it leaves open are closed at its end.
pub(crate) fn run(steps: &[Step]) -> Vec<StepResult> {
    Sockets::default().run(steps)
}

impl Sockets {
    /// Runs more steps of the program.
    pub(crate) fn run(&mut self, steps: &[Step]) -> Vec<StepResult> {
        steps
            .iter()
            .map(|step| carry_out(step, &mut self.0).map_err(Code::from))
            .collect()
    }
}

fn carry_out(step: &Step, sockets: &mut Vec<Option<OwnedFd>>) -> Result<Seen, Errno> {
    let done = |()| Seen::Done;
    match step {
        Step::Open {
            family,
            transport,
            nonblocking,
        } => keep(sockets, socket::open(*family, *transport, *nonblocking)),
        Step::OpenAs {
            family,
            kind,
            protocol,
        } => keep(sockets, socket::open_as(*family, *kind, *protocol)),
        Step::ConnectInterrupted { socket, address } => {
            interrupted::connect(find(sockets, *socket)?, *address).map(done)
        }
        Step::ByRing { socket, call } => ring::carry_out(find(sockets, *socket)?, call),
        Step::SendZeroCopy {
            socket,
            data,
            address,
        } => zero_copy::send(find(sockets, *socket)?, data, *address).map(Seen::Sent),
        Step::Close { socket } => {
            let closed = sockets
                .get_mut(*socket)
                .and_then(Option::take)
                .ok_or(Errno::EBADF)?;
            drop(closed);
            Ok(Seen::Done)
        }
        Step::V6Only { socket, on } => socket::v6_only(find(sockets, *socket)?, *on).map(done),
        Step::Bind { socket, address } => socket::bind(find(sockets, *socket)?, *address).map(done),
        Step::Connect { socket, address } => {
            socket::connect(find(sockets, *socket)?, *address).map(done)
        }
        Step::Disconnect { socket } => socket::disconnect(find(sockets, *socket)?).map(done),
        Step::AwaitWritable { socket } => socket::await_writable(find(sockets, *socket)?).map(done),
        Step::TakeError { socket } => {
            socket::take_error(find(sockets, *socket)?).map(|number| match number {
                0 => Seen::NothingPending,
                number => Seen::Pending(Errno::from_raw(number).into()),
            })
        }
        Step::Send { socket, data } => socket::send(find(sockets, *socket)?, data).map(Seen::Sent),
        Step::SendTo {
            socket,
            data,
            address,
        } => socket::send_to(find(sockets, *socket)?, data, *address).map(Seen::Sent),
        Step::SendMany { socket, messages } => {
            message::send_many(find(sockets, *socket)?, messages).map(Seen::Sent)
        }
        Step::SendFast {
            socket,
            data,
            address,
        } => socket::send_fast(find(sockets, *socket)?, data, *address).map(Seen::Sent),
        Step::Receive { socket, most } => {
            socket::receive(find(sockets, *socket)?, *most).map(Seen::Data)
        }
        Step::ReceiveFrom { socket, most } => socket::receive_from(find(sockets, *socket)?, *most)
            .map(|(data, from)| Seen::DataFrom(data, from)),
        Step::ReceiveMessage { socket, most } => {
            message::receive(find(sockets, *socket)?, *most).map(Seen::Message)
        }
        Step::PacketInfo { socket, on } => {
            message::packet_info(find(sockets, *socket)?, *on).map(done)
        }
        Step::ReportErrors { socket, on } => {
            socket::report_errors(find(sockets, *socket)?, *on).map(done)
        }
        Step::ReusePort { socket, on } => {
            socket::reuse_port(find(sockets, *socket)?, *on).map(done)
        }
        Step::PeerName { socket } => socket::peer_name(find(sockets, *socket)?).map(Seen::Name),
        Step::OwnName { socket } => socket::own_name(find(sockets, *socket)?).map(Seen::Name),
        Step::Shutdown { socket, direction } => {
            let how = match direction {
                Direction::Read => Shutdown::Read,
                Direction::Write => Shutdown::Write,
                Direction::Both => Shutdown::Both,
            };
            shutdown(find(sockets, *socket)?.as_raw_fd(), how).map(done)
        }
        Step::Storage { socket, pin } => {
            bpf::socket_storage(pin, find(sockets, *socket)?.as_fd()).map(Seen::Data)
        }
    }
}

/// A number is used up also by a failure, so that the rest of the program means the same.
fn keep(sockets: &mut Vec<Option<OwnedFd>>, opened: Result<OwnedFd, Errno>) -> Result<Seen, Errno> {
    let failure = opened.as_ref().err().copied();
    sockets.push(opened.ok());
    failure.map_or(Ok(Seen::Opened(sockets.len() - 1)), Err)
}

fn find(sockets: &[Option<OwnedFd>], socket: Socket) -> Result<&OwnedFd, Errno> {
    sockets
        .get(socket)
        .and_then(Option::as_ref)
        .ok_or(Errno::EBADF)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

    use super::*;
    use crate::program::socket::tests::closed_port;
    use crate::program::{Family, Transport};

    #[test]
    fn a_connect_to_nobody_is_refused_and_the_program_goes_on() {
        let (_held, address) = closed_port();
        let results = run(&[
            Step::tcp(Family::V4),
            Step::connect(0, address),
            Step::peer_name(0),
        ]);
        assert_eq!(
            results,
            [
                Ok(Seen::Opened(0)),
                Err(Errno::ECONNREFUSED.into()),
                Err(Errno::ENOTCONN.into())
            ]
        );
    }

    #[test]
    fn a_connect_in_progress_ends_with_its_error_pending() {
        let (_held, address) = closed_port();
        let results = run(&[
            Step::Open {
                family: Family::V4,
                transport: Transport::Tcp,
                nonblocking: true,
            },
            Step::connect(0, address),
            Step::AwaitWritable { socket: 0 },
            Step::TakeError { socket: 0 },
            Step::TakeError { socket: 0 },
        ]);
        assert_eq!(
            results[1..3],
            [Err(Errno::EINPROGRESS.into()), Ok(Seen::Done)]
        );
        assert_eq!(
            results[3..],
            [
                Ok(Seen::Pending(Errno::ECONNREFUSED.into())),
                Ok(Seen::NothingPending)
            ]
        );
    }

    #[test]
    fn datagrams_go_both_ways_and_the_association_can_be_ended() {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address: SocketAddr = peer.local_addr().unwrap();
        let results = run(&[
            Step::udp(Family::V4),
            Step::connect(0, address),
            Step::peer_name(0),
            Step::send(0, "hello"),
            Step::Disconnect { socket: 0 },
            Step::send(0, "hello"),
        ]);
        assert_eq!(results[2..4], [Ok(Seen::Name(address)), Ok(Seen::Sent(5))]);
        assert_eq!(
            results[4..],
            [Ok(Seen::Done), Err(Errno::EDESTADDRREQ.into())]
        );
    }

    #[test]
    fn a_closed_socket_is_no_descriptor() {
        let results = run(&[
            Step::tcp(Family::V6),
            Step::Close { socket: 0 },
            Step::peer_name(0),
        ]);
        assert_eq!(results[1..], [Ok(Seen::Done), Err(Errno::EBADF.into())]);
    }
}
