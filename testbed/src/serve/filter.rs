//! A socket filter that lets nothing through: how a port becomes a black hole without a firewall. Linux lets anybody
//! attach one, but there are kernels that let only root.

use std::mem::size_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

const RETURN: u16 = 0x06;

/// Drops every packet that comes for this socket; for a listening socket also those that would open a connection.
pub(super) fn swallow(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut nothing = libc::sock_filter {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut nothing,
    };
    set(socket, libc::SO_ATTACH_FILTER, &program)
}

/// Lets packets through again.
pub(super) fn let_through(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    match set(socket, libc::SO_DETACH_FILTER, &0i32) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

fn set<T>(socket: BorrowedFd<'_>, option: i32, value: &T) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the value, and the instruction that a program points to, live through the call; the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    Errno::result(result).map(drop)
}
