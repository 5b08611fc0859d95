//! The kernel's choice over an image, on the host.

use std::{cell::RefCell, collections::BTreeMap};

use sluice_model::{
    desired::Backend,
    image::Image,
    key::{Frontend, Port},
};
use sluice_node_abi::{keys, values};
use sluice_node_ebpf::choose::{self, Refusal, Tables};

/// An image with the counters that belong to the kernel.
pub(crate) struct Kernel<'a> {
    image: &'a Image,
    rows: Rows,
    counters: RefCell<BTreeMap<u32, u64>>,
    random: RefCell<u32>,
}

#[derive(Default)]
struct Rows {
    tables: BTreeMap<u32, values::Table>,
    groups: BTreeMap<u32, values::Group>,
    backends: BTreeMap<u32, values::Backend>,
}

impl<'a> Kernel<'a> {
    /// With the counters that an earlier image was left with.
    pub(crate) fn new(image: &'a Image, counters: BTreeMap<u32, u64>) -> Self {
        Self {
            image,
            rows: Rows {
                tables: image.tables.iter().collect(),
                groups: image.groups.iter().collect(),
                backends: image.backends.iter().collect(),
            },
            counters: RefCell::new(counters),
            random: RefCell::new(1),
        }
    }

    #[allow(dead_code, reason = "the properties start anew each time")]
    pub(crate) fn into_counters(self) -> BTreeMap<u32, u64> {
        self.counters.into_inner()
    }

    /// The backend that a connect to one of our frontends is sent to; `None` when it is refused.
    pub(crate) fn connect(&self, frontend: Frontend) -> Result<Option<Backend>, Refusal> {
        let front = self.image.frontends[&frontend.key()];
        let root = self.image.ports.get(front.port).root();
        match choose::choose(self, root) {
            Ok(choice) => {
                let row = self.image.backends.get(choice.backend);
                let port = Port::new(u16::from_be_bytes(row.port)).ok_or(Refusal::Dangling)?;
                Ok(Some(Backend {
                    ip: keys::ip(row.address),
                    port,
                }))
            }
            Err(Refusal::Empty) => Ok(None),
            Err(Refusal::Dangling) => Err(Refusal::Dangling),
        }
    }
}

impl Tables for Kernel<'_> {
    fn table(&self, id: u32) -> Option<&values::Table> {
        self.rows.tables.get(&id)
    }

    fn group(&self, id: u32) -> Option<&values::Group> {
        self.rows.groups.get(&id)
    }

    fn backend(&self, id: u32) -> Option<&values::Backend> {
        self.rows.backends.get(&id)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        Some(self.image.slots.get(index))
    }

    fn tick(&self, counter: u32) -> Option<u64> {
        assert_ne!(counter, 0, "entry 0 is never given out");
        let mut counters = self.counters.borrow_mut();
        let value = counters.entry(counter).or_default();
        *value += 1;
        Some(*value - 1)
    }

    /// A permuted congruential generator: the same sequence in every run.
    fn random(&self) -> u32 {
        let mut state = self.random.borrow_mut();
        *state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let word = ((*state >> ((*state >> 28) + 4)) ^ *state).wrapping_mul(277_803_737);
        (word >> 22) ^ word
    }
}
