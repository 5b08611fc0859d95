//! The few raw `bpf(2)` calls that the testbed itself needs: a probe, reading a socket's storage, and listing the
//! programs on a cgroup.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_OBJ_PIN: i32 = 6;
const BPF_OBJ_GET: i32 = 7;
const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
const BPF_PROG_QUERY: i32 = 16;
const BPF_MAP_TYPE_ARRAY: u32 = 2;

// What each call here passes is the beginning of `union bpf_attr`: the kernel takes it as zero beyond the given length.

#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct Info {
    fd: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
struct MapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
}

/// Whether this process may use BPF at all.
pub fn probe() -> Result<(), Errno> {
    create_array().map(drop)
}

/// Pins a new map at `path`, which is in a BPF file system: something that outlives its maker.
pub fn pin_array(path: &Path) -> Result<(), Errno> {
    let map = create_array()?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut object = Object {
        path: path.as_ptr() as u64,
        fd: map.as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    call(BPF_OBJ_PIN, &mut object).map(drop)
}

fn create_array() -> Result<OwnedFd, Errno> {
    let mut create = Create {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
    };
    Ok(owned(call(BPF_MAP_CREATE, &mut create)?))
}

/// What the socket storage map pinned at `pin` holds for `socket`; ENOENT when it holds nothing.
pub fn socket_storage(pin: &Path, socket: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let path = CString::new(pin.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut object = Object {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    let map = owned(call(BPF_OBJ_GET, &mut object)?);
    let map_fd = map.as_raw_fd().cast_unsigned();

    // SAFETY: MapInfo is plain numbers, for which zero is a value.
    let mut described: MapInfo = unsafe { zeroed() };
    let length = u32::try_from(size_of::<MapInfo>()).map_err(|_| Errno::EINVAL)?;
    let mut info = Info {
        fd: map_fd,
        length,
        info: (&raw mut described) as u64,
    };
    call(BPF_OBJ_GET_INFO_BY_FD, &mut info)?;

    let key = socket.as_raw_fd();
    let mut value = vec![0; described.value_size as usize];
    let mut element = Element {
        map: map_fd,
        padding: 0,
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    call(BPF_MAP_LOOKUP_ELEM, &mut element)?;
    Ok(value)
}

/// The ids of the programs that are attached to this very cgroup, whatever they hook into.
pub fn programs_on(cgroup: &Path) -> io::Result<BTreeSet<u32>> {
    /// Beyond the last `enum bpf_attach_type` of any kernel so far.
    const ATTACH_TYPES: u32 = 128;
    const MOST: usize = 64;
    let cgroup = File::open(cgroup)?;
    let mut found = BTreeSet::new();
    for attach_type in 0..ATTACH_TYPES {
        let mut programs = [0_u32; MOST];
        let mut query = Query {
            target: cgroup.as_raw_fd().cast_unsigned(),
            attach_type,
            query_flags: 0,
            attach_flags: 0,
            programs: programs.as_mut_ptr() as u64,
            count: MOST as u32,
        };
        match call(BPF_PROG_QUERY, &mut query) {
            Ok(_) => found.extend(&programs[..query.count as usize]),
            // Not a hook of cgroups (some take the number for an interface's), or none that this kernel knows.
            Err(Errno::EINVAL | Errno::EBADF | Errno::ENODEV | Errno::ENOTSUP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(found)
}

/// One call of `bpf(2)`. `Attribute` is one of the structs above, the one that `command` takes, and its pointers are
/// to values that outlive the call.
fn call<Attribute>(command: i32, attribute: &mut Attribute) -> Result<i32, Errno> {
    // SAFETY: the attribute is as long as said and initialised; what it points to lives through the call (see above).
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attribute),
            size_of::<Attribute>(),
        )
    };
    if result < 0 {
        Err(Errno::last())
    } else {
        i32::try_from(result).map_err(|_| Errno::EINVAL)
    }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor to us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
