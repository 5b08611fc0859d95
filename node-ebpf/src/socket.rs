//! What a translated socket remembers: where the application meant to go, and what was chosen.
//!
//! The storage lives and dies with the socket, so no table can overflow and no reply can carry
//! somebody else's address. A socket that connects again, elsewhere, is forgotten first.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::{
        bpf_ktime_get_boot_ns,
        generated::{bpf_sk_storage_delete, bpf_sk_storage_get},
    },
    programs::{SockAddrContext, SockContext},
};
use sluice_node_abi::{
    keys::FrontendKey,
    values::{Backend, Port, Socket},
};

use crate::{
    choose::Choice,
    maps::{self, SOCKETS},
};

/// Adding this wraps around to one less.
const MINUS_ONE: u64 = u64::MAX;

/// Notes the choice in the socket. `false` when the kernel has no memory for it.
#[inline(always)]
pub fn remember(
    ctx: &SockAddrContext,
    front: &FrontendKey,
    port_id: u32,
    port: Port,
    choice: Choice,
    backend: &Backend,
) -> bool {
    // SAFETY: the context's socket is valid while the program runs; see `storage`.
    let Some(state) = (unsafe { storage(socket_of(ctx), BPF_SK_STORAGE_GET_F_CREATE.into()) })
    else {
        return false;
    };
    uncount(state);
    state.address = front.address;
    state.port = front.port;
    state.protocol = front.protocol;
    state.port_id = port_id;
    state.port_generation = port.generation();
    // SAFETY: the helper has no preconditions.
    state.since = unsafe { bpf_ktime_get_boot_ns() };
    state.group = choice.group;
    state.backend = choice.backend;
    state.backend_generation = backend.generation;
    state.counted = 1;
    maps::count_socket(choice.backend, 1);
    true
}

/// Drops what an earlier connect of this socket left.
#[inline(always)]
pub fn forget(ctx: &SockAddrContext) {
    let socket = socket_of(ctx);
    // SAFETY: as in `remember`.
    if let Some(state) = unsafe { storage(socket, 0) } {
        uncount(state);
        // SAFETY: the map and the socket are valid; a failure means that it is gone already.
        unsafe { bpf_sk_storage_delete(map(), socket.cast()) };
    }
}

/// The address that the application meant, if this socket was translated.
#[inline(always)]
pub fn recall(ctx: &SockAddrContext) -> Option<&Socket> {
    // SAFETY: as in `remember`.
    unsafe { storage(socket_of(ctx), 0) }.map(|state| &*state)
}

/// The socket ends.
#[inline(always)]
pub fn released(ctx: &SockContext) {
    // SAFETY: in this program type the helper takes the context itself as the socket.
    if let Some(state) = unsafe { storage(ctx.sock, 0) } {
        uncount(state);
    }
}

#[inline(always)]
fn uncount(state: &mut Socket) {
    if state.counted == 0 {
        return;
    }
    state.counted = 0;
    let alive = maps::backend(state.backend)
        .is_some_and(|backend| backend.generation == state.backend_generation);
    if alive {
        maps::count_socket(state.backend, MINUS_ONE);
    }
}

#[inline(always)]
fn socket_of(ctx: &SockAddrContext) -> *mut bpf_sock {
    // SAFETY: the kernel hands a valid context to the program; the field is a pointer it checks.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }
}

/// # Safety
/// `socket` is what this program type's context offers as its socket.
#[inline(always)]
unsafe fn storage<'a>(socket: *mut bpf_sock, flags: u64) -> Option<&'a mut Socket> {
    // SAFETY: by the contract; the verifier checks the types, and the value lives as long as the socket.
    unsafe {
        bpf_sk_storage_get(map(), socket.cast(), ptr::null_mut(), flags)
            .cast::<Socket>()
            .as_mut()
    }
}

#[inline(always)]
fn map() -> *mut core::ffi::c_void {
    ptr::from_ref(&SOCKETS).cast_mut().cast()
}
