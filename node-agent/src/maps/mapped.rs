//! An array map as memory: reads and writes without system calls.
//!
//! The kernel's programs read these elements while they are written. A plain element may only be
//! written while nothing reaches it; one that is reached is swapped as one word ([`Mapped::swap`]).

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{MapData, MapError};
use memmap2::{MmapOptions, MmapRaw};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[derive(Debug, thiserror::Error)]
pub enum MapOpenError {
    #[error("cannot open")]
    Open(#[from] MapError),
    #[error("cannot map into memory")]
    Mmap(#[from] io::Error),
    #[error("its values have {found} bytes, not {expected}")]
    Size { found: u32, expected: usize },
}

/// A mapped array of `T`.
pub struct Mapped<T> {
    memory: MmapRaw,
    length: u32,
    values: PhantomData<T>,
}

/// There is no such element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index {index} is outside of an array of {length}")]
pub struct OutOfBounds {
    index: u32,
    length: u32,
}

impl<T: IntoBytes + FromBytes + Immutable + Copy> Mapped<T> {
    /// The kernel rounds elements up to 8 bytes.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    pub fn open(map: &MapData) -> Result<Self, MapOpenError> {
        let info = map.info()?;
        if info.value_size() as usize != size_of::<T>() {
            return Err(MapOpenError::Size {
                found: info.value_size(),
                expected: size_of::<T>(),
            });
        }
        let length = info.max_entries();
        let bytes = length as usize * Self::STRIDE;
        let memory = MmapOptions::new()
            .len(bytes)
            .map_raw(map.fd().as_fd().as_raw_fd())?;
        Ok(Self {
            memory,
            length,
            values: PhantomData,
        })
    }

    /// How many elements there are.
    pub const fn capacity(&self) -> u32 {
        self.length
    }

    pub fn read(&self, index: u32) -> Result<T, OutOfBounds> {
        let element = self.element(index)?;
        // SAFETY: in bounds and aligned (elements start at multiples of 8 in a page-aligned map; no ABI type
        // needs more); every bit pattern is a `T`; volatile, since the kernel writes too.
        Ok(unsafe { element.read_volatile() })
    }

    pub fn write(&self, index: u32, value: T) -> Result<(), OutOfBounds> {
        let element = self.element(index)?;
        // SAFETY: as in `read`. The mapping is shared and writable.
        unsafe { element.write_volatile(value) };
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, T)> + '_ {
        (0..self.length).filter_map(|index| Some((index, self.read(index).ok()?)))
    }

    fn element(&self, index: u32) -> Result<*mut T, OutOfBounds> {
        if index >= self.length {
            return Err(OutOfBounds {
                index,
                length: self.length,
            });
        }
        // SAFETY: in bounds of the mapping, by the check and by its length.
        Ok(unsafe { self.memory.as_mut_ptr().add(index as usize * Self::STRIDE) }.cast())
    }
}

impl Mapped<sluice_node_abi::values::Port> {
    /// Publishes everything written before: a program that reads this word reads the rest too.
    pub fn swap(&self, index: u32, port: sluice_node_abi::values::Port) -> Result<(), OutOfBounds> {
        let element = self.element(index)?;
        // SAFETY: in bounds, aligned to 8, alive as long as `self`; the kernel reads it as one word.
        unsafe { AtomicU64::from_ptr(element.cast()) }.store(port.0, Ordering::Release);
        Ok(())
    }
}
