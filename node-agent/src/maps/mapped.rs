//! An array map as memory: reads and writes with hardly a system call.
//!
//! The kernel counts every mapped page as memory of the process, used or not, so only a window of
//! the array is mapped, and moved to where it is needed. Neighbours are written together, so it
//! seldom moves.
//!
//! The kernel's programs read these elements while they are written. A plain element may only be
//! written while nothing reaches it; one that is reached is swapped as one word ([`Mapped::swap`]).

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aya::maps::{MapData, MapError};
use memmap2::{MmapOptions, MmapRaw};
use sluice_node_abi::values::{Backend, BackendRow, Port};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes from the start of a window to the start of the next. A multiple of every page size.
const WINDOW: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum MapOpenError {
    #[error("cannot open")]
    Open(#[from] MapError),
    #[error("cannot keep it open")]
    Keep(#[from] io::Error),
    #[error("its values have {found} bytes, not {expected}")]
    Size { found: u32, expected: usize },
}

/// An array of `T`.
pub struct Mapped<T> {
    map: OwnedFd,
    length: u32,
    window: Mutex<Option<Window>>,
    values: PhantomData<T>,
}

/// The part that is mapped.
struct Window {
    /// In bytes, of the array.
    start: usize,
    memory: MmapRaw,
}

/// Why an element can be neither read nor written.
#[derive(Debug, thiserror::Error)]
pub enum ElementError {
    #[error("index {index} is outside of an array of {length}")]
    OutOfBounds { index: u32, length: u32 },
    #[error("cannot map into memory")]
    Mmap(#[source] io::Error),
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
        Ok(Self {
            map: map.fd().as_fd().try_clone_to_owned()?,
            length: info.max_entries(),
            window: Mutex::new(None),
            values: PhantomData,
        })
    }

    /// How many elements there are.
    pub const fn capacity(&self) -> u32 {
        self.length
    }

    pub fn read(&self, index: u32) -> Result<T, ElementError> {
        // SAFETY: in bounds and aligned (elements start at multiples of 8 in a page-aligned map; no ABI type
        // needs more); every bit pattern is a `T`; volatile, since the kernel writes too.
        self.at(index, |element| unsafe { element.read_volatile() })
    }

    pub fn write(&self, index: u32, value: T) -> Result<(), ElementError> {
        // SAFETY: as in `read`. The mapping is shared and writable.
        self.at(index, |element| unsafe { element.write_volatile(value) })
    }

    /// Every element that is not all zero, in order.
    pub fn each(&self, mut found: impl FnMut(u32, T)) -> Result<(), ElementError>
    where
        T: Default + PartialEq,
    {
        let mut first = 0;
        while first < self.length {
            let end = Self::window_of(first) + WINDOW;
            let past = self.length.min(end.div_ceil(Self::STRIDE) as u32);
            self.at(first, |element| {
                for (offset, index) in (first..past).enumerate() {
                    // SAFETY: as in `read`; all of these start in the window that the first one starts in.
                    let value = unsafe { element.byte_add(offset * Self::STRIDE).read_volatile() };
                    if value != T::default() {
                        found(index, value);
                    }
                }
            })?;
            first = past;
        }
        Ok(())
    }

    /// Does something with an element while the window lies over it.
    fn at<R>(&self, index: u32, with: impl FnOnce(*mut T) -> R) -> Result<R, ElementError> {
        let length = self.length;
        if index >= length {
            return Err(ElementError::OutOfBounds { index, length });
        }
        let start = Self::window_of(index);
        let mut window = self.lock();
        let window = match &mut *window {
            Some(window) if window.start == start => window,
            other => {
                // First away with the old one: never two windows over one array.
                *other = None;
                other.insert(self.open_at(start).map_err(ElementError::Mmap)?)
            }
        };
        // SAFETY: an element that starts in the window ends in the mapping, which reaches an element beyond it or
        // to the end of the array.
        let element = unsafe { window.memory.as_mut_ptr().add(Self::place(index) - start) };
        Ok(with(element.cast()))
    }

    /// Where an element starts, in bytes.
    const fn place(index: u32) -> usize {
        index as usize * Self::STRIDE
    }

    /// Where the window starts that an element starts in.
    const fn window_of(index: u32) -> usize {
        Self::place(index) / WINDOW * WINDOW
    }

    /// Windows overlap: an element may start before a border and end behind it.
    fn open_at(&self, start: usize) -> io::Result<Window> {
        let rest = Self::place(self.length) - start;
        let memory = MmapOptions::new()
            .offset(start as u64)
            .len(rest.min(WINDOW + Self::STRIDE))
            .map_raw(self.map.as_raw_fd())?;
        Ok(Window { start, memory })
    }

    /// A panic elsewhere leaves the window whole or none.
    fn lock(&self) -> MutexGuard<'_, Option<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mapped<BackendRow> {
    /// Writes the backend alone: the kernel may be counting a socket in the same row right now.
    pub fn put_right(&self, index: u32, backend: Backend) -> Result<(), ElementError> {
        self.at(index, |row| {
            // SAFETY: as in `write`; a field of an aligned element is aligned.
            unsafe { (&raw mut (*row).backend).write_volatile(backend) }
        })
    }
}

impl Mapped<Port> {
    /// Publishes everything written before: a program that reads this word reads the rest too.
    pub fn swap(&self, index: u32, port: Port) -> Result<(), ElementError> {
        self.at(index, |element| {
            // SAFETY: in bounds, aligned to 8, mapped while this runs; the kernel reads it as one word.
            unsafe { AtomicU64::from_ptr(element.cast()) }.store(port.0, Ordering::Release);
        })
    }
}
