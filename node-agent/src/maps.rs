//! Reading and writing the dataplane's maps, as an interface small enough to fail on purpose.

pub mod kernel;
mod mapped;

use std::io;

use sluice_model::{ids::Capacities, image::Image, plan::Op};

pub use mapped::{ElementError, MapOpenError, Mapped};

/// Where an image lives.
pub trait Maps {
    fn capacities(&self) -> Capacities;

    /// Everything that is there.
    fn read(&self) -> Result<Image, MapsError>;

    fn write(&mut self, op: &Op) -> Result<(), MapsError>;

    /// How far one of the kernel's counters has come.
    fn counter(&self, index: u32) -> Result<u64, MapsError>;

    /// Whether the programs were told to leave every connect alone.
    fn are_switched_off(&self) -> bool;
}

/// An operation that was not done. Every one is worth trying again: maps fill and empty, and memory
/// comes back.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    #[error("{map}")]
    Element {
        map: &'static str,
        source: ElementError,
    },
    #[error("cannot {doing} {what}")]
    Row {
        doing: &'static str,
        what: &'static str,
        source: aya::maps::MapError,
    },
    #[error("cannot wait for running programs")]
    Barrier(#[source] io::Error),
    #[error("deleting is held back until every manifest could be read once")]
    HeldBack,
}
