//! What a translated socket remembers: where the application meant to go, and what was chosen.
//!
//! The storage lives and dies with the socket, so no table can overflow and no reply can carry
//! somebody else's address. A socket that connects again, elsewhere, is forgotten first. What it sent
//! datagrams to without connecting is kept apart: most sockets never do.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    btf_maps::SkStorage,
    helpers::{
        bpf_ktime_get_boot_ns,
        generated::{bpf_sk_storage_delete, bpf_sk_storage_get},
    },
    programs::{SockAddrContext, SockContext},
};
use sluice_node_abi::{
    datagrams::Datagrams,
    keys::{Address, FrontendKey},
    values::{Backend, Port, Socket},
};

use crate::{
    choose::Choice,
    maps::{self, DATAGRAMS, SOCKETS},
    pairs,
};

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
    let create = BPF_SK_STORAGE_GET_F_CREATE.into();
    // SAFETY: the context's socket is valid while the program runs; see `storage`.
    let Some(state) = (unsafe { storage(&SOCKETS, socket_of(ctx), create) }) else {
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
    state.backend_address = backend.address;
    state.backend_port = backend.port;
    state.counted = 1;
    maps::count_socket(choice.backend);
    true
}

/// Drops what an earlier connect of this socket left.
#[inline(always)]
pub fn forget(ctx: &SockAddrContext) {
    let socket = socket_of(ctx);
    // SAFETY: as in `remember`.
    if let Some(state) = unsafe { storage(&SOCKETS, socket, 0) } {
        uncount(state);
        // SAFETY: the map and the socket are valid; a failure means that it is gone already.
        unsafe { bpf_sk_storage_delete(pointer(&SOCKETS), socket.cast()) };
    }
}

/// The address that the application meant, if this socket was translated.
#[inline(always)]
pub fn recall(ctx: &SockAddrContext) -> Option<&Socket> {
    // SAFETY: as in `remember`.
    unsafe { storage(&SOCKETS, socket_of(ctx), 0) }.map(|state| &*state)
}

/// Whether this is where a connect of the socket was sent to.
#[inline(always)]
pub fn is_peer(ctx: &SockAddrContext, address: &FrontendKey) -> bool {
    recall(ctx).is_some_and(|state| state.is_from(&address.address, address.port))
}

/// What the application calls the peer at this address: by its connect, or by what it sent.
#[inline(always)]
pub fn meant<'a>(
    ctx: &'a SockAddrContext,
    source: &FrontendKey,
) -> Option<(&'a Address, &'a [u8; 2])> {
    if let Some(state) = recall(ctx)
        && state.is_from(&source.address, source.port)
    {
        return Some((&state.address, &state.port));
    }
    // SAFETY: as in `remember`.
    let state = unsafe { storage(&DATAGRAMS, socket_of(ctx), 0) }?;
    let pair = pairs::receiving(state, &source.address, source.port)?;
    Some((&pair.front.address, &pair.front.port))
}

/// The pairs of a socket that sends datagrams. `None` when the kernel has no memory for them.
#[inline(always)]
pub fn datagrams(ctx: &SockAddrContext) -> Option<&mut Datagrams> {
    let create = BPF_SK_STORAGE_GET_F_CREATE.into();
    // SAFETY: as in `remember`. The kernel holds the socket's lock while programs at a send run.
    unsafe { storage(&DATAGRAMS, socket_of(ctx), create) }
}

/// The pairs of a socket that has some.
#[inline(always)]
pub fn known_datagrams(ctx: &SockAddrContext) -> Option<&mut Datagrams> {
    // SAFETY: as in `datagrams`.
    unsafe { storage(&DATAGRAMS, socket_of(ctx), 0) }
}

/// The socket ends.
#[inline(always)]
pub fn released(ctx: &SockContext) {
    // SAFETY: in this program type the helper takes the context itself as the socket.
    if let Some(state) = unsafe { storage(&SOCKETS, ctx.sock, 0) } {
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
        maps::uncount_socket(state.backend);
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
unsafe fn storage<'a, T>(
    map: &SkStorage<T>,
    socket: *mut bpf_sock,
    flags: u64,
) -> Option<&'a mut T> {
    // SAFETY: by the contract; the verifier checks the types, and the value lives as long as the socket.
    unsafe {
        bpf_sk_storage_get(pointer(map), socket.cast(), ptr::null_mut(), flags)
            .cast::<T>()
            .as_mut()
    }
}

#[inline(always)]
fn pointer<T>(map: &SkStorage<T>) -> *mut core::ffi::c_void {
    ptr::from_ref(map).cast_mut().cast()
}
