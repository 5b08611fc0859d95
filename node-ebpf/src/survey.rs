//! Tells user space which sockets keep what: runs once for each entry of the storage in sockets when
//! user space reads the iterator.
//!
//! Socket diagnosis tells the storage of TCP sockets but not that of others, so this is about UDP alone.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::helpers::bpf_get_socket_cookie;
use sluice_node_abi::{keys, survey::Surveyed, values::Socket};

use crate::maps::SURVEY;

const NEXT: i32 = 0;
/// The reader gets EAGAIN, makes room, and goes on with the same entry.
const AGAIN: i32 = 1;

/// `bpf_iter__bpf_sk_storage_map`, where every pointer takes 8 bytes. The last two are null at the end.
#[repr(C)]
pub struct Entry {
    meta: *mut c_void,
    map: *mut c_void,
    socket: *mut c_void,
    value: *const Socket,
}

/// # Safety
/// `entry` is what the kernel gives to a program of this kind.
#[inline(always)]
pub unsafe fn tell(entry: *const Entry) -> i32 {
    // SAFETY: by the contract. Volatile keeps the two checks apart, as the verifier wants them.
    let socket = unsafe { read_volatile(&raw const (*entry).socket) };
    if socket.is_null() {
        return NEXT;
    }
    // SAFETY: as above.
    let value = unsafe { read_volatile(&raw const (*entry).value) };
    // SAFETY: the value lives while the program runs.
    let Some(state) = (unsafe { value.as_ref() }) else {
        return NEXT;
    };
    if state.protocol != keys::UDP {
        return NEXT;
    }
    let told = Surveyed {
        // SAFETY: in this kind of program the helper takes the socket itself.
        cookie: unsafe { bpf_get_socket_cookie(socket) },
        state: *state,
    };
    match SURVEY.output(&told, 0) {
        Ok(()) => NEXT,
        Err(_) => AGAIN,
    }
}
