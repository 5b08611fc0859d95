//! Maps some of whose writes fail.

use sluice_model::{ids::Capacities, image::Image, plan::Op};
use sluice_node_agent::maps::{Maps, MapsError, kernel::Kernel};

/// The kernel's maps, but for the writes that a test wants to fail.
pub(crate) struct Flaky<F> {
    pub(crate) maps: Kernel,
    fails: F,
    pub(crate) failures: usize,
}

impl<F: FnMut(&Op) -> bool> Flaky<F> {
    pub(crate) const fn new(maps: Kernel, fails: F) -> Self {
        Self {
            maps,
            fails,
            failures: 0,
        }
    }
}

impl<F: FnMut(&Op) -> bool> Maps for Flaky<F> {
    fn capacities(&self) -> Capacities {
        self.maps.capacities()
    }

    fn read(&self) -> Result<Image, MapsError> {
        self.maps.read()
    }

    fn counter(&self, index: u32) -> Result<u64, MapsError> {
        self.maps.counter(index)
    }

    fn are_switched_off(&self) -> bool {
        self.maps.are_switched_off()
    }

    fn write(&mut self, op: &Op) -> Result<(), MapsError> {
        if (self.fails)(op) {
            self.failures += 1;
            return Err(MapsError::Barrier(std::io::Error::other("on purpose")));
        }
        self.maps.write(op)
    }
}
