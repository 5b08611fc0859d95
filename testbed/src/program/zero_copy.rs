//! Sends without a copy, as far as the way allows that.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self as sys, MsgFlags, SockaddrStorage};

use super::PATIENCE;

pub(super) fn send(
    socket: &OwnedFd,
    data: &[u8],
    address: Option<SocketAddr>,
) -> Result<usize, Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value lives through the call, and its length is its own.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(set)?;
    let flags = MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY) | MsgFlags::MSG_NOSIGNAL;
    let sent = match address {
        Some(address) => {
            let address = SockaddrStorage::from(address);
            sys::sendto(socket.as_raw_fd(), data, &address, flags)?
        }
        None => sys::send(socket.as_raw_fd(), data, flags)?,
    };
    await_release(socket)?;
    Ok(sent)
}

/// The kernel says in the socket's error queue that it has let go of the data.
fn await_release(socket: &OwnedFd) -> Result<(), Errno> {
    // What is asked for does not matter: an error is always told.
    let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    let patience = PollTimeout::try_from(PATIENCE).map_err(|_| Errno::EINVAL)?;
    if poll(&mut wanted, patience)? == 0 {
        return Err(Errno::EAGAIN);
    }
    let (mut nothing, mut control) = ([0; 1], vec![0; 256]);
    let mut slices = [IoSliceMut::new(&mut nothing)];
    sys::recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE,
    )?;
    Ok(())
}
