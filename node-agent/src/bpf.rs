//! The few bpf(2) commands that aya does not offer: links that are updated in place, and raw loads
//! for probing.
//!
//! Each attribute struct is the leading part of the kernel's union for that command; the kernel takes
//! what is missing as zero.

mod grace;

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

pub use grace::GracePeriod;

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const ITER_CREATE: libc::c_int = 33;

/// `BPF_TRACE_ITER`, the one attach type here that is not a cgroup's.
const TRACE_ITERATOR: u32 = 28;
const LINK_DETACH: libc::c_int = 34;

/// Where a cgroup program hooks in (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachType {
    Inet4Connect = 10,
    Inet6Connect = 11,
    Udp4SendMsg = 14,
    Udp6SendMsg = 15,
    Udp4RecvMsg = 19,
    Udp6RecvMsg = 20,
    Inet4GetPeerName = 29,
    Inet6GetPeerName = 30,
    InetSockRelease = 34,
}

/// Program types that are probed for (`enum bpf_prog_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    CgroupSockAddr = 18,
}

/// Attaches a program to a cgroup; it stays for as long as the link is held or pinned.
pub fn create_link(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    at: AttachType,
) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        program: i32,
        target: i32,
        attach_type: u32,
        flags: u32,
    }
    let attr = Attr {
        program: program.as_raw_fd(),
        target: cgroup.as_raw_fd(),
        attach_type: at as u32,
        flags: 0,
    };
    // SAFETY: only descriptors and numbers are passed; the command makes a descriptor.
    unsafe { make(LINK_CREATE, &attr) }
}

/// Lets an iterator program run over the entries of a map; the link says which two.
pub fn create_iterator_link(program: impl AsFd, map: impl AsFd) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        program: i32,
        target: i32,
        attach_type: u32,
        flags: u32,
        info: u64,
        info_length: u32,
        reserved: u32,
    }
    let info = map.as_fd().as_raw_fd();
    let attr = Attr {
        program: program.as_fd().as_raw_fd(),
        target: 0,
        attach_type: TRACE_ITERATOR,
        flags: 0,
        info: (&raw const info).expose_provenance() as u64,
        info_length: size_of_val(&info) as u32,
        reserved: 0,
    };
    // SAFETY: the one pointer is to `info`, which outlives the call; the command makes a descriptor.
    unsafe { make(LINK_CREATE, &attr) }
}

/// One run of an iterator, which goes on as it is read.
pub fn create_iterator(link: impl AsFd) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        link: i32,
        flags: u32,
    }
    let attr = Attr {
        link: link.as_fd().as_raw_fd(),
        flags: 0,
    };
    // SAFETY: only numbers are passed; the command makes a descriptor.
    unsafe { make(ITER_CREATE, &attr) }
}

/// Puts another program into a link, without a moment of none or both.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        link: i32,
        new_program: i32,
        flags: u32,
        old_program: i32,
    }
    let attr = Attr {
        link: link.as_raw_fd(),
        new_program: program.as_raw_fd(),
        flags: 0,
        old_program: 0,
    };
    // SAFETY: only descriptors and numbers are passed.
    unsafe { call(LINK_UPDATE, &attr) }.map(drop)
}

/// Takes a link's program off its cgroup at once, whoever else holds the link.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        link: i32,
    }
    let attr = Attr {
        link: link.as_raw_fd(),
    };
    // SAFETY: only descriptors and numbers are passed.
    unsafe { call(LINK_DETACH, &attr) }.map(drop)
}

/// Takes off the program of a pinned link, and the pin. Removing the pin alone would leave the program at
/// work for as long as anybody holds the link.
pub fn detach_pinned(path: &Path) -> io::Result<()> {
    match detach_link(open_pinned(path)?.as_fd()) {
        // Its cgroup is gone, and took it off.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
        outcome => outcome?,
    }
    fs::remove_file(path)
}

/// What a cgroup link holds together. A link whose cgroup is gone names cgroup 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, IntoBytes)]
#[repr(C)]
pub struct LinkInfo {
    pub kind: u32,
    pub id: u32,
    pub program: u32,
    reserved: u32,
    pub cgroup: u64,
    pub attach_type: u32,
    reserved_too: u32,
}

pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        fd: i32,
        length: u32,
        info: u64,
    }
    let mut info = LinkInfo::new_zeroed();
    let attr = Attr {
        fd: link.as_raw_fd(),
        length: size_of::<LinkInfo>() as u32,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: `info` may be written to for the length that is passed, and lives through the call.
    unsafe { call(OBJ_GET_INFO_BY_FD, &attr) }?;
    Ok(info)
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ObjectAttr {
    path: u64,
    fd: i32,
    flags: u32,
}

pub fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjectAttr {
        path: path.as_ptr().expose_provenance() as u64,
        fd: object.as_fd().as_raw_fd(),
        flags: 0,
    };
    // SAFETY: `path` ends with a zero and lives through the call.
    unsafe { call(OBJ_PIN, &attr) }.map(drop)
}

pub fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjectAttr {
        path: path.as_ptr().expose_provenance() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: `path` ends with a zero and lives through the call; the command makes a descriptor.
    unsafe { make(OBJ_GET, &attr) }
}

/// Loads instructions as they are, for probing: says only whether the verifier takes them.
pub fn load_program(
    kind: ProgramType,
    attach: AttachType,
    instructions: &[u64],
) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log: [u32; 4],
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    let attr = Attr {
        kind: kind as u32,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
        log: [0; 4],
        kernel_version: 0,
        flags: 0,
        name: *b"sluice_probe\0\0\0\0",
        interface: 0,
        attach_type: attach as u32,
    };
    // SAFETY: there are as many instructions as is said, the licence ends with a zero, and both live
    // through the call; the command makes a descriptor.
    unsafe { make(PROG_LOAD, &attr) }
}

/// Creates an array map, for probing its flags.
pub fn create_array(value_size: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        kind: u32,
        key_size: u32,
        value_size: u32,
        entries: u32,
        flags: u32,
    }
    const ARRAY: u32 = 2;
    let attr = Attr {
        kind: ARRAY,
        key_size: 4,
        value_size,
        entries,
        flags,
    };
    // SAFETY: only numbers are passed; the command makes a descriptor.
    unsafe { make(MAP_CREATE, &attr) }
}

/// # Safety
/// Every pointer in `attr` is one that the kernel may use as the command does, until the call returns.
unsafe fn call<A: IntoBytes + Immutable>(
    command: libc::c_int,
    attr: &A,
) -> io::Result<libc::c_int> {
    let bytes = attr.as_bytes();
    // SAFETY: `bytes` is readable for its length; of the pointers in it the caller has made sure.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, bytes.as_ptr(), bytes.len()) };
    if outcome < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(outcome as libc::c_int)
    }
}

/// # Safety
/// As for [`call`]; and the command returns a new descriptor.
unsafe fn make<A: IntoBytes + Immutable>(command: libc::c_int, attr: &A) -> io::Result<OwnedFd> {
    // SAFETY: the caller has made sure.
    let fd = unsafe { call(command, attr) }?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks which programs tcx runs at an interface's ingress; an error tells that there is no tcx.
pub fn query_tcx(interface: u32) -> io::Result<()> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        interface: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        programs: u64,
        count: u32,
        reserved: u32,
    }
    const TCX_INGRESS: u32 = 46;
    let attr = Attr {
        interface,
        attach_type: TCX_INGRESS,
        query_flags: 0,
        attach_flags: 0,
        programs: 0,
        count: 0,
        reserved: 0,
    };
    // SAFETY: no room for ids is passed.
    unsafe { call(PROG_QUERY, &attr) }.map(drop)
}
