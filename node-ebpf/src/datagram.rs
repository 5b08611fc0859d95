//! Datagrams of sockets that name the address with each send.
//!
//! The socket keeps the backend that it has for a frontend while it sends there, so a conversation
//! stays in one place; a backend that is gone is replaced at the next send. What comes from a
//! backend is shown as coming from the frontend.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::{
    helpers::{bpf_ktime_get_boot_ns, generated::bpf_loop},
    programs::SockAddrContext,
};
use sluice_node_abi::{
    datagrams::Pair, keys::FrontendKey, tally::Tally, values::Port, verdict::Verdict,
};

use crate::{
    maps::{self, Kernel},
    member::{self, Search},
    pairs,
    resolve::{self, ALLOW, Family},
    socket,
};

/// Whether the kernel has `bpf_loop`; set by the loader after probing. Constant to the verifier, so
/// the helper is not even looked at where it is missing.
#[unsafe(no_mangle)]
static HAS_LOOPS: u32 = 1;

/// A datagram is about to be sent to an address.
#[inline(always)]
pub fn send(ctx: &SockAddrContext, family: Family) -> i32 {
    if maps::off() {
        return ALLOW;
    }
    let Some(verdict) = translate(ctx, family) else {
        return ALLOW;
    };
    maps::count_verdict(verdict);
    match verdict {
        Verdict::Passed | Verdict::Translated => ALLOW,
        Verdict::Refused | Verdict::Dangling | Verdict::NoStorage => {
            resolve::refuse_send(ctx, family)
        }
    }
}

/// A datagram was received, and the application asks from where.
#[inline(always)]
pub fn receive(ctx: &SockAddrContext, family: Family) -> i32 {
    if let Some(source) = resolve::address_of(ctx, family)
        && let Some((address, port)) = socket::meant(ctx, &source)
    {
        resolve::write(ctx, family, address, *port);
    }
    ALLOW
}

/// `None` when nothing was decided: the address is not ours, or the socket keeps what it has.
#[inline(always)]
fn translate(ctx: &SockAddrContext, family: Family) -> Option<Verdict> {
    let key = resolve::address_of(ctx, family)?;
    let Some(port_id) = resolve::port_at(ctx, &key) else {
        if let Some(state) = socket::known_datagrams(ctx) {
            pairs::let_go(state, &key.address, key.port);
        }
        return None;
    };
    if socket::is_peer(ctx, &key) {
        // A v6 socket that is connected to a v4-mapped address names its peer with each send.
        return None;
    }
    let Some(port) = maps::port(port_id) else {
        return Some(Verdict::Dangling);
    };
    let Some(state) = socket::datagrams(ctx) else {
        return Some(Verdict::NoStorage);
    };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if let Some(pair) = pairs::sending(state, &key, now)
        && is_good(pair, port_id, port)
    {
        pair.last = now;
        resolve::write(ctx, family, &pair.backend_address, pair.backend_port);
        return None;
    }
    let (choice, backend) = match resolve::select(ctx, port_id, port) {
        Ok(selected) => selected,
        Err(verdict) => return Some(verdict),
    };
    let pair = pairs::oldest(state);
    if pairs::is_in_use(pair, now) && !pair.is_to(&key) {
        maps::count(Tally::PairForgotten);
    }
    *pair = Pair {
        front: key,
        backend_address: backend.address,
        backend_port: backend.port,
        reserved: [0; 2],
        port_id,
        port_generation: port.generation(),
        backend: choice.backend,
        backend_generation: backend.generation,
        last: now,
    };
    resolve::write(ctx, family, &backend.address, backend.port);
    Some(Verdict::Translated)
}

/// Whether the pair's backend is still one of the frontend's. Looked at in full only once after
/// each change of the Service.
#[inline(always)]
fn is_good(pair: &mut Pair, port_id: u32, port: Port) -> bool {
    let alive = maps::backend(pair.backend)
        .is_some_and(|backend| backend.generation == pair.backend_generation);
    if !alive || pair.port_id != port_id {
        return false;
    }
    if pair.port_generation != port.generation() {
        if !holds(maps::table_of(port), pair.backend) {
            return false;
        }
        pair.port_generation = port.generation();
    }
    true
}

/// Whether the table can choose the backend. Where the kernel has no loops, nobody knows: then a
/// change of the Service makes the socket choose again.
#[inline(always)]
pub(crate) fn holds(root: u32, backend: u32) -> bool {
    // SAFETY: a static of this object; volatile, since the loader changes it behind the compiler.
    if unsafe { read_volatile(&raw const HAS_LOOPS) } == 0 {
        return false;
    }
    let Some(mut search) = Search::new(&Kernel::of_nobody(), root, backend) else {
        return false;
    };
    // SAFETY: the callback takes what it is given here, and runs before the helper returns.
    unsafe {
        bpf_loop(
            member::STEPS,
            step as *mut c_void,
            (&raw mut search).cast(),
            0,
        )
    };
    search.has_found()
}

/// A turn of the kernel's loop; not 0 ends it.
#[inline(never)]
extern "C" fn step(_index: u64, search: *mut c_void) -> i64 {
    // SAFETY: `holds` hands over its own search, and looks at it only afterwards.
    let more = unsafe { &mut *search.cast::<Search>() }.step(&Kernel::of_nobody());
    i64::from(!more)
}
