//! The kernel side of Sluice.
//!
//! A connect passes `resolve`, which looks its address up, lets [`choose`] pick a backend, notes the
//! original address in the socket (`socket`) and rewrites the destination. Datagrams with an address of
//! their own pass `datagram`. `maps` declares every map. [`choose`], [`front`], [`member`],
//! [`pairs`] and [`sticky`] take values and never touch a context or a helper, so they are compiled for the host too and
//! tested there; the rest exists for the kernel's target alone.

#![no_std]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        internal_features,
        reason = "a fetching add has no stable form on this target"
    )
)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]

pub mod choose;
#[cfg(target_arch = "bpf")]
pub mod datagram;
pub mod front;
#[cfg(target_arch = "bpf")]
pub mod maps;
pub mod member;
pub mod pairs;
#[cfg(target_arch = "bpf")]
pub mod resolve;
#[cfg(target_arch = "bpf")]
pub mod socket;
pub mod sticky;
#[cfg(target_arch = "bpf")]
pub mod survey;
