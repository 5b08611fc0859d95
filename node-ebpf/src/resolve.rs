//! The path of a connect: look up, choose, remember, rewrite; or refuse.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::bpf_sock_addr, helpers::generated::bpf_set_retval, programs::SockAddrContext,
};
use sluice_node_abi::{
    keys::{self, Address, FrontendKey},
    values::{Backend, Port},
    verdict::Verdict,
};

use crate::{
    choose::{Choice, Refusal},
    front,
    maps::{self, Kernel},
    socket, sticky,
};

pub(crate) const ALLOW: i32 = 1;
const DENY: i32 = 0;
const ECONNREFUSED: i32 = 111;

/// v4-mapped `127.0.0.1`.
const LOOPBACK_V4: Address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
const LOOPBACK_V6: Address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Port 1, in network order.
const TCPMUX: [u8; 2] = [0, 1];

/// How to refuse; set by the loader after probing. 0: by `bpf_set_retval`. Else by sending the connect
/// to port 0 of loopback, where nobody can listen. Constant to the verifier, so the helper
/// is not even looked at where it is missing.
#[unsafe(no_mangle)]
static REFUSE_BY_LOOPBACK: u32 = 0;

/// The address family whose fields of the context a hook reads and writes.
#[derive(Clone, Copy)]
pub enum Family {
    V4,
    V6,
}

#[inline(always)]
pub fn connect(ctx: &SockAddrContext, family: Family) -> i32 {
    if maps::off() {
        return ALLOW;
    }
    let verdict = resolve(ctx, family);
    maps::count_verdict(verdict);
    match verdict {
        Verdict::Passed | Verdict::Translated => ALLOW,
        Verdict::Refused | Verdict::Dangling | Verdict::NoStorage => refuse(ctx, family),
    }
}

/// Tells the application the address that it connected to.
#[inline(always)]
pub fn peer_name(ctx: &SockAddrContext, family: Family) -> i32 {
    if let Some(state) = socket::recall(ctx) {
        write(ctx, family, &state.address, state.port);
    }
    ALLOW
}

#[inline(always)]
fn resolve(ctx: &SockAddrContext, family: Family) -> Verdict {
    let Some(key) = address_of(ctx, family) else {
        return Verdict::Passed;
    };
    let Some(port_id) = port_at(ctx, &key) else {
        socket::forget(ctx);
        return Verdict::Passed;
    };
    let Some(port) = maps::port(port_id) else {
        return Verdict::Dangling;
    };
    let (choice, backend) = match select(ctx, port_id, port) {
        Ok(selected) => selected,
        Err(verdict) => return verdict,
    };
    if !socket::remember(ctx, &key, port_id, port, choice, backend) {
        return Verdict::NoStorage;
    }
    write(ctx, family, &backend.address, backend.port);
    Verdict::Translated
}

/// The id of the port that answers this caller at an address.
#[inline(always)]
pub(crate) fn port_at(ctx: &SockAddrContext, key: &FrontendKey) -> Option<u32> {
    let id = look_up(ctx.sock_addr, key);
    (id != 0).then_some(id)
}

/// A function of its own, so that its keys do not crowd the caller's stack.
#[inline(never)]
fn look_up(sock_addr: *mut bpf_sock_addr, key: &FrontendKey) -> u32 {
    let ctx = SockAddrContext::new(sock_addr);
    match front::find(&maps::View(&ctx), key) {
        Some(front) if !maps::has_opted_out() => front.port,
        // Entry 0 is never given out.
        _ => 0,
    }
}

/// Chooses for a port that was looked up.
#[inline(always)]
pub(crate) fn select(
    ctx: &SockAddrContext,
    port_id: u32,
    port: Port,
) -> Result<(Choice, &'static Backend), Verdict> {
    let table = maps::table_of(port);
    let kernel = Kernel::of(ctx, port_id, table.wrapping_sub(port.root()));
    let choice = match sticky::select(&kernel, table, port.generation()) {
        Ok(choice) => choice,
        Err(Refusal::Empty) => return Err(Verdict::Refused),
        Err(Refusal::Dangling) => return Err(Verdict::Dangling),
    };
    let backend = maps::backend(choice.backend).ok_or(Verdict::Dangling)?;
    Ok((choice, backend))
}

#[inline(always)]
fn refuse(ctx: &SockAddrContext, family: Family) -> i32 {
    // SAFETY: a static of this object; volatile, since the loader changes it behind the compiler.
    if unsafe { read_volatile(&raw const REFUSE_BY_LOOPBACK) } == 0 {
        // The socket stays as it was, and so does what it remembers.
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
        return DENY;
    }
    socket::forget(ctx);
    to_loopback(ctx, family, [0, 0]);
    ALLOW
}

/// As [`refuse`], for a datagram. The kernel takes port 0 for an invalid argument here, so the way by
/// loopback goes to a port that a host has no use for: nobody answers, as from a closed port.
#[inline(always)]
pub(crate) fn refuse_send(ctx: &SockAddrContext, family: Family) -> i32 {
    // SAFETY: as in `refuse`.
    if unsafe { read_volatile(&raw const REFUSE_BY_LOOPBACK) } == 0 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
        return DENY;
    }
    to_loopback(ctx, family, TCPMUX);
    ALLOW
}

#[inline(always)]
fn to_loopback(ctx: &SockAddrContext, family: Family, port: [u8; 2]) {
    let mapped = matches!(address_of(ctx, family), Some(key) if front::is_mapped(&key.address));
    let loopback = if mapped { &LOOPBACK_V4 } else { &LOOPBACK_V6 };
    write(ctx, family, loopback, port);
}

/// The address in the context, if the socket is of a protocol that has frontends.
#[inline(always)]
pub(crate) fn address_of(ctx: &SockAddrContext, family: Family) -> Option<FrontendKey> {
    let raw = ctx.sock_addr;
    // SAFETY: a valid context; each field is read in its own width, which the verifier insists on.
    let protocol = match unsafe { read_volatile(&raw const (*raw).protocol) } as u8 {
        protocol @ (keys::TCP | keys::UDP) => protocol,
        _ => return None,
    };
    let mut address: Address = LOOPBACK_V4;
    match family {
        Family::V4 => {
            // SAFETY: as above.
            let word = unsafe { read_volatile(&raw const (*raw).user_ip4) };
            address[12..].copy_from_slice(&word.to_ne_bytes());
        }
        Family::V6 => {
            for index in 0..4 {
                // SAFETY: as above.
                let word = unsafe { read_volatile(&raw const (*raw).user_ip6[index]) };
                address[index * 4..index * 4 + 4].copy_from_slice(&word.to_ne_bytes());
            }
        }
    }
    // SAFETY: as above.
    let port = unsafe { read_volatile(&raw const (*raw).user_port) };
    let [high, low, ..] = port.to_ne_bytes();
    Some(FrontendKey {
        address,
        port: [high, low],
        protocol,
        scope: keys::SCOPE_ANY,
    })
}

#[inline(always)]
pub(crate) fn write(ctx: &SockAddrContext, family: Family, address: &Address, port: [u8; 2]) {
    let raw: *mut bpf_sock_addr = ctx.sock_addr;
    let word = |index: usize| {
        u32::from_ne_bytes([
            address[index * 4],
            address[index * 4 + 1],
            address[index * 4 + 2],
            address[index * 4 + 3],
        ])
    };
    // SAFETY: a valid context whose address and port the hook may write, each in its own width.
    unsafe {
        match family {
            Family::V4 => write_volatile(&raw mut (*raw).user_ip4, word(3)),
            Family::V6 => {
                for index in 0..4 {
                    write_volatile(&raw mut (*raw).user_ip6[index], word(index));
                }
            }
        }
        write_volatile(
            &raw mut (*raw).user_port,
            u32::from_ne_bytes([port[0], port[1], 0, 0]),
        );
    }
}
