//! Asks the kernel to end a TCP socket that cannot exist, to learn whether it knows the request.

use std::{
    io::{self, Read, Write},
    os::fd::{FromRawFd, OwnedFd},
};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

const SOCK_DESTROY: u16 = 21;

/// `nlmsghdr` and `inet_diag_req_v2`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    sender: u32,
    family: u8,
    protocol: u8,
    extensions: u8,
    reserved: u8,
    states: u32,
    ports: [u16; 2],
    addresses: [u32; 8],
    interface: u32,
    cookie: [u32; 2],
}

/// The kernel's answer: always an error, `ENOENT` where the request is understood.
pub(super) fn nobodys_socket() -> io::Result<()> {
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
    let mut socket = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });

    let mut request = Request::new_zeroed();
    request.length = size_of::<Request>() as u32;
    request.kind = SOCK_DESTROY;
    request.flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    request.family = libc::AF_INET as u8;
    request.protocol = libc::IPPROTO_TCP as u8;
    request.states = u32::MAX;
    request.cookie = [u32::MAX; 2];
    socket.write_all(request.as_bytes())?;

    // `nlmsghdr`, then the error as a negative number.
    const ERROR: usize = 16;
    let mut answer = [0; 1024];
    let length = socket.read(&mut answer)?;
    let error = answer
        .get(ERROR..ERROR + 4)
        .filter(|_| length >= ERROR + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes)
        .ok_or_else(|| io::Error::other("a short answer from sock_diag"))?;
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(-error))
    }
}
