//! The kernel's choice over an image, on the host.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use sluice_model::{
    caller::Caller,
    desired::Backend,
    image::Image,
    key::{Frontend, Port},
};
use sluice_node_abi::{
    keys::{self, Address, FrontendKey},
    values,
};
use sluice_node_ebpf::{
    choose::{Refusal, Tables},
    front::{self, Fronts},
    member,
    sticky::{self, Memory},
};

/// An image with the counters that belong to the kernel.
pub(crate) struct Kernel<'a> {
    image: &'a Image,
    arrays: Arrays,
    counters: RefCell<BTreeMap<u32, u64>>,
    random: RefCell<u32>,
    affinity: RefCell<Affinities>,
    sockets: RefCell<BTreeMap<u32, u64>>,
    now: Cell<u64>,
}

/// What clients had, by client, port and class.
pub(crate) type Affinities = BTreeMap<(u64, u32, u32), values::Affinity>;

/// What becomes of one connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Sent(Backend),
    Refused,
}

#[derive(Default)]
struct Arrays {
    tables: BTreeMap<u32, values::Table>,
    groups: BTreeMap<u32, values::Group>,
    backends: BTreeMap<u32, values::Backend>,
}

impl<'a> Kernel<'a> {
    /// With the counters that an earlier image was left with.
    pub(crate) fn new(image: &'a Image, counters: BTreeMap<u32, u64>) -> Self {
        Self {
            image,
            arrays: Arrays {
                tables: image.tables.iter().collect(),
                groups: image.groups.iter().collect(),
                backends: image.backends.iter().collect(),
            },
            counters: RefCell::new(counters),
            random: RefCell::new(1),
            affinity: RefCell::default(),
            sockets: RefCell::default(),
            now: Cell::new(1_000_000_000),
        }
    }

    /// At this many seconds, with what clients had before.
    #[allow(dead_code, reason = "the scenarios have no time")]
    pub(crate) fn at(self, seconds: u64, affinity: Affinities) -> Self {
        self.now.set(seconds * 1_000_000_000);
        self.affinity.replace(affinity);
        self
    }

    #[allow(dead_code, reason = "as above")]
    pub(crate) fn affinities(&self) -> Affinities {
        self.affinity.borrow().clone()
    }

    #[allow(dead_code, reason = "the properties start anew each time")]
    pub(crate) fn into_counters(self) -> BTreeMap<u32, u64> {
        self.counters.into_inner()
    }

    /// What becomes of a connect.
    pub(crate) fn connect(&self, caller: Caller, frontend: Frontend) -> Result<Outcome, Refusal> {
        let image = self.image;
        let key = FrontendKey {
            scope: keys::SCOPE_ANY,
            ..frontend.key()
        };
        let row = caller.cgroup.and_then(|cgroup| image.callers.get(&cgroup));
        if row.is_some_and(|row| row.flags & values::caller::OPTED_OUT != 0) {
            return Ok(Outcome::Passed);
        }
        let Some(front) = front::find(&Rows { image, caller }, &key) else {
            return Ok(Outcome::Passed);
        };
        let word = image.ports.get(front.port);
        let table = self.table_of(caller, word);
        let connect = Connect {
            kernel: self,
            caller,
            port: front.port,
            class: table - word.root(),
        };
        match sticky::select(&connect, table, word.generation()) {
            Ok(choice) => {
                *self.sockets.borrow_mut().entry(choice.backend).or_default() += 1;
                let row = image.backends.get(choice.backend);
                let port = Port::new(u16::from_be_bytes(row.port)).ok_or(Refusal::Dangling)?;
                let ip = keys::ip(row.address);
                Ok(Outcome::Sent(Backend { ip, port }))
            }
            Err(Refusal::Empty) => Ok(Outcome::Refused),
            Err(Refusal::Dangling) => Err(Refusal::Dangling),
        }
    }
}

impl Kernel<'_> {
    fn table_of(&self, caller: Caller, port: values::Port) -> u32 {
        let class = caller.cgroup.and_then(|cgroup| {
            let mut rows = self.image.classes_of(port.root());
            rows.find(|(key, _)| port.classes() > 0 && key.cgroup == cgroup)
        });
        class.map_or(port.root(), |(_, class)| class.table())
    }
}

impl Outcome {
    /// `None` for a connect that was left alone, else the backend that it was sent to, if any.
    pub(crate) fn decided(self) -> Option<Option<Backend>> {
        match self {
            Self::Passed => None,
            Self::Sent(backend) => Some(Some(backend)),
            Self::Refused => Some(None),
        }
    }
}

struct Rows<'a> {
    image: &'a Image,
    caller: Caller,
}

impl Fronts for Rows<'_> {
    fn frontend(&self, key: &FrontendKey) -> Option<values::Frontend> {
        self.image.frontends.get(key).copied()
    }

    fn node(&self, address: &Address) -> Option<values::NodeAddress> {
        self.image.nodes.get(address).copied()
    }

    fn is_in_host_network(&self) -> bool {
        self.caller.in_host_network
    }
}

/// One connect of one client.
struct Connect<'k, 'a> {
    kernel: &'k Kernel<'a>,
    caller: Caller,
    port: u32,
    class: u32,
}

impl Connect<'_, '_> {
    fn key(&self) -> (u64, u32, u32) {
        (self.client(), self.port, self.class)
    }
}

impl Memory for Connect<'_, '_> {
    fn recall(&self) -> Option<values::Affinity> {
        self.kernel.affinity.borrow().get(&self.key()).copied()
    }

    fn remember(&self, affinity: &values::Affinity) {
        let mut all = self.kernel.affinity.borrow_mut();
        all.insert(self.key(), *affinity);
    }

    fn now(&self) -> u64 {
        self.kernel.now.get()
    }

    fn holds(&self, root: u32, backend: u32) -> bool {
        member::holds(self, root, backend)
    }
}

impl Tables for Connect<'_, '_> {
    fn table(&self, id: u32) -> Option<&values::Table> {
        self.kernel.arrays.tables.get(&id)
    }

    fn group(&self, id: u32) -> Option<&values::Group> {
        self.kernel.arrays.groups.get(&id)
    }

    fn backend(&self, id: u32) -> Option<&values::Backend> {
        self.kernel.arrays.backends.get(&id)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        Some(self.kernel.image.slots.get(index))
    }

    fn tick(&self, counter: u32) -> Option<u64> {
        assert_ne!(counter, 0, "entry 0 is never given out");
        let mut counters = self.kernel.counters.borrow_mut();
        let value = counters.entry(counter).or_default();
        *value += 1;
        Some(*value - 1)
    }

    fn count(&self, counter: u32) {
        *self
            .kernel
            .counters
            .borrow_mut()
            .entry(counter)
            .or_default() += 1;
    }

    /// Pods are told apart by their cgroup here, as by their network there.
    fn client(&self) -> u64 {
        self.caller.cgroup.unwrap_or_default()
    }

    /// No socket is ever closed here.
    fn sockets(&self, backend: u32) -> u64 {
        let sockets = self.kernel.sockets.borrow();
        sockets.get(&backend).copied().unwrap_or_default()
    }

    /// A permuted congruential generator: the same sequence in every run.
    fn random(&self) -> u32 {
        let mut state = self.kernel.random.borrow_mut();
        *state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let word = ((*state >> ((*state >> 28) + 4)) ^ *state).wrapping_mul(277_803_737);
        (word >> 22) ^ word
    }
}
