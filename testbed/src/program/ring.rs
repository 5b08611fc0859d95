//! Socket calls by `io_uring`, which the kernel makes itself, also from threads of its own.

use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, OwnedFd};

use io_uring::{IoUring, opcode, squeue::Entry, types::Fd};
use nix::errno::Errno;
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

use super::{RingCall, Seen};

const ENTRIES: u32 = 2;

pub(super) fn carry_out(socket: &OwnedFd, call: &RingCall) -> Result<Seen, Errno> {
    let fd = Fd(socket.as_raw_fd());
    match call {
        RingCall::Connect(address) => {
            let address = SockaddrStorage::from(*address);
            let connect = opcode::Connect::new(fd, address.as_ptr(), address.len());
            submit(&connect.build()).map(|_| Seen::Done)
        }
        RingCall::Send(data) => {
            let length = u32::try_from(data.len()).map_err(|_| Errno::EMSGSIZE)?;
            let send = opcode::Send::new(fd, data.as_ptr(), length).flags(libc::MSG_NOSIGNAL);
            submit(&send.build()).map(Seen::Sent)
        }
        RingCall::SendTo(data, address) => {
            let address = SockaddrStorage::from(*address);
            let mut slices = [IoSlice::new(data)];
            // SAFETY: a header without anything in it is all zeros.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            header.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_namelen = address.len();
            header.msg_iov = slices.as_mut_ptr().cast();
            header.msg_iovlen = slices.len();
            let send = opcode::SendMsg::new(fd, &raw const header);
            submit(&send.build()).map(Seen::Sent)
        }
        RingCall::Receive { most } => {
            let mut data = vec![0; *most];
            let length = u32::try_from(data.len()).map_err(|_| Errno::EMSGSIZE)?;
            let receive = opcode::Recv::new(fd, data.as_mut_ptr(), length);
            let received = submit(&receive.build())?;
            data.truncate(received);
            Ok(Seen::Data(data))
        }
    }
}

/// Submits one operation and waits for its end.
fn submit(operation: &Entry) -> Result<usize, Errno> {
    let number = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or_default());
    let mut ring = IoUring::new(ENTRIES).map_err(number)?;
    // SAFETY: what the operation points to lives in the caller until this returns, and this returns only when the
    // operation has ended.
    unsafe { ring.submission().push(operation) }.map_err(|_| Errno::ENOBUFS)?;
    loop {
        match ring.submit_and_wait(1).map_err(number) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        }
        if let Some(done) = ring.completion().next() {
            return usize::try_from(done.result()).map_err(|_| Errno::from_raw(-done.result()));
        }
    }
}
