//! The kernel's maps, and stand-ins that behave like them.

pub mod kernel;
mod mapped;

pub use mapped::{MapOpenError, Mapped, OutOfBounds};
