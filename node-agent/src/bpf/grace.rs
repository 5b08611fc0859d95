//! Waiting until no kernel program that runs now is left running: what it read may then be reused.
//!
//! The kernel promises that to whoever changes a map of maps: a program may be using the inner map
//! that was there. So such a map of our own, which no program reads, is written over with what it holds.
//! `membarrier` gives the same only where no CPU is `nohz_full`, and more than one is online.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use zerocopy::{Immutable, IntoBytes};

use super::{call, make};

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;

const ARRAY: u32 = 2;
const ARRAY_OF_MAPS: u32 = 12;

/// The way to wait.
#[derive(Debug)]
pub struct GracePeriod {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl GracePeriod {
    pub fn new() -> io::Result<Self> {
        let inner = create(ARRAY, None)?;
        let outer = create(ARRAY_OF_MAPS, Some(&inner))?;
        Ok(Self { outer, inner })
    }

    /// Returns once every program that was running has ended.
    pub fn wait(&self) -> io::Result<()> {
        #[derive(IntoBytes, Immutable)]
        #[repr(C)]
        struct Attr {
            map: i32,
            padding: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let key = 0_u32;
        let value = self.inner.as_raw_fd();
        let attr = Attr {
            map: self.outer.as_raw_fd(),
            padding: 0,
            key: (&raw const key).expose_provenance() as u64,
            value: (&raw const value).expose_provenance() as u64,
            flags: 0,
        };
        // SAFETY: key and value are as large as the map says, and live through the call.
        unsafe { call(MAP_UPDATE_ELEM, &attr) }.map(drop)
    }
}

/// A map of one element, which is a number or a map like `inner`.
fn create(kind: u32, inner: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Attr {
        kind: u32,
        key_size: u32,
        value_size: u32,
        entries: u32,
        flags: u32,
        inner: i32,
    }
    let attr = Attr {
        kind,
        key_size: 4,
        value_size: 4,
        entries: 1,
        flags: 0,
        inner: inner.map_or(0, AsRawFd::as_raw_fd),
    };
    // SAFETY: only numbers are passed; the command makes a descriptor.
    unsafe { make(MAP_CREATE, &attr) }
}
