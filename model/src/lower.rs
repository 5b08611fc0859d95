//! From the wanted dataplane to the wanted image, one Service at a time.
//!
//! Everything that a port can reach is put into space that nothing uses, and the port's word is
//! changed last; what it reached before is given back. A Service is lowered whole or not at all:
//! where a map has no room, the Service stays as it was. An unchanged table is not touched, and a
//! changed one keeps its counter when its schedule is the same.

mod measured;
mod places;
mod ports;
mod schedules;
mod shared;
pub(crate) mod tables;

use std::collections::{BTreeMap, BTreeSet};

use sluice_node_abi::{keys::FrontendKey, maps};

use crate::{
    desired,
    ids::{Capacities, Full, Ids, Restored},
    image::{Entry, Image, Place},
    key::ServiceKey,
};
pub use measured::Measured;
use ports::Live;
use shared::Shared;

/// The wanted image with the ids that hold it together.
#[derive(Clone, Debug)]
pub struct Lowered {
    ids: Ids,
    image: Image,
    shared: Shared,
    services: BTreeMap<ServiceKey, Vec<Live>>,
    /// Those of them with ports that are split.
    split: BTreeSet<ServiceKey>,
    /// Tables of classes came or went since the callers were lowered.
    reclassed: bool,
    restored: Option<Restored>,
    /// Ports that an address still leads to though it should not: a write has failed. What they lead to must not
    /// become that address's.
    misled: BTreeSet<u32>,
    /// What has changed, while anybody wants to know.
    touched: Option<BTreeSet<Place>>,
}

impl Lowered {
    pub fn new(capacities: Capacities) -> Self {
        Self {
            ids: Ids::new(capacities),
            image: Image::default(),
            shared: Shared::default(),
            services: BTreeMap::new(),
            split: BTreeSet::new(),
            reclassed: false,
            restored: None,
            misled: BTreeSet::new(),
            touched: None,
        }
    }

    /// After a restart: Services that are lowered before [`forget_restored`](Self::forget_restored)
    /// get the ids back that they had in the maps.
    pub fn restore(capacities: Capacities, observed: &Image) -> Self {
        let mut lowered = Self::new(capacities);
        lowered.restored = Some(Restored::read(observed, &mut lowered.ids));
        lowered.image.generation = lowered.ids.generation();
        lowered
    }

    pub fn forget_restored(&mut self) {
        self.restored = None;
    }

    /// Whether what an earlier process left can still be adopted.
    pub fn is_restoring(&self) -> bool {
        self.restored.is_some()
    }

    /// The whole wanted image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// From now on notes the places that change.
    pub fn note_changes(&mut self) {
        self.touched = Some(BTreeSet::new());
    }

    /// The places that have changed since [`note_changes`](Self::note_changes).
    pub fn take_changes(&mut self) -> BTreeSet<Place> {
        self.touched.take().unwrap_or_default()
    }

    /// Makes free what has left the maps. True if anything became free. `settled` says that the
    /// maps are known to hold the wanted image and nothing else.
    pub fn reclaim(&mut self, observed: &Image, settled: bool) -> bool {
        if settled && self.ids.has_foreign() {
            self.ids.settle(&self.image);
            return true;
        }
        self.ids.reclaim(observed)
    }

    /// Before Services are lowered: which of these places of the maps lead to a port against what is wanted.
    pub fn note_misled<'a>(
        &mut self,
        observed: &Image,
        frontends: impl Iterator<Item = &'a FrontendKey>,
    ) {
        let misled = frontends.filter_map(|key| {
            let led = observed.frontends.get(key)?;
            (self.image.frontends.get(key) != Some(led)).then_some(led.port)
        });
        self.misled = misled.collect();
    }

    /// What callers of a Service meet first: its ports and frontends.
    pub fn fronts(&self, service: &ServiceKey) -> impl Iterator<Item = Place> {
        let ports = self.services.get(service).into_iter().flatten();
        ports.flat_map(|live| {
            let frontends = live.frontends.iter().copied().map(Place::Frontend);
            let classes = self.image.classes_of(live.root);
            let classes = classes.map(|(key, _)| Place::Class(key));
            frontends.chain([Place::Port(live.id)]).chain(classes)
        })
    }

    /// Whether callers are to be lowered again, because of what Services have become.
    pub fn wants_classes(&self) -> bool {
        self.reclassed
    }

    /// The ports that are split, with their Services.
    fn split_ports(&self) -> impl Iterator<Item = (&ServiceKey, &Live)> {
        let services = self
            .split
            .iter()
            .filter_map(|key| self.services.get_key_value(key));
        let ports = services.flat_map(|(key, ports)| ports.iter().map(move |port| (key, port)));
        ports.filter(|(_, port)| port.split().is_some())
    }

    fn note_split(&mut self, key: &ServiceKey, old: &[Live], new: &[Live]) {
        let are_classed = |ports: &[Live]| ports.iter().any(|port| !port.classes.is_empty());
        self.reclassed |= are_classed(old) || are_classed(new);
        if new.iter().any(|port| port.split().is_some()) {
            self.split.insert(key.clone());
        } else {
            self.split.remove(key);
        }
    }

    /// Lowers one Service; `None` when it is not wanted any more.
    pub fn set(
        &mut self,
        key: &ServiceKey,
        service: Option<&desired::Service>,
    ) -> Result<(), Full> {
        let old = self.services.remove(key).unwrap_or_default();
        let ports = service.map_or(&[][..], |service| &service.ports);
        let staged = self
            .check_frontends(ports, &old)
            .and_then(|()| self.stage_all(ports, &old));
        match staged {
            Ok(staged) => {
                let live: Vec<Live> = staged.into_iter().map(|port| self.switch(port)).collect();
                for old in &old {
                    let new = live.iter().find(|new| new.id == old.id);
                    self.release(old, new);
                }
                self.note_split(key, &old, &live);
                if !live.is_empty() {
                    self.services.insert(key.clone(), live);
                }
                Ok(())
            }
            Err(full) => {
                if !old.is_empty() {
                    self.services.insert(key.clone(), old);
                }
                Err(full)
            }
        }
    }

    fn check_frontends(&self, ports: &[desired::Port], old: &[Live]) -> Result<(), Full> {
        let keys = ports.iter().flat_map(|port| &port.frontends);
        let keys: BTreeSet<FrontendKey> = keys.map(|frontend| frontend.key()).collect();
        let known = &self.image.frontends;
        let more = keys.iter().filter(|key| !known.contains_key(key)).count();
        // An address that another Service has taken over in this pass does not become free.
        let own = |live: &Live, key: &FrontendKey| {
            known
                .get(key)
                .is_some_and(|frontend| frontend.port == live.id)
        };
        let less = old.iter().flat_map(|live| {
            let gone = live.frontends.iter().filter(|key| !keys.contains(key));
            gone.filter(|key| own(live, key))
        });
        let less = less.count();
        let capacity = self.ids.capacities().frontends;
        if known.len() + more > capacity as usize + less {
            return Err(Full {
                map: maps::FRONTENDS,
                capacity,
            });
        }
        Ok(())
    }

    fn next_generation(&mut self) -> u32 {
        let generation = self.ids.next_generation();
        self.put(&Entry::Generation(generation));
        generation
    }

    fn put(&mut self, entry: &Entry) {
        self.touch(entry.place());
        self.image.put(entry);
    }

    fn delete(&mut self, place: Place) {
        self.touch(place);
        self.image.delete(place);
    }

    fn touch(&mut self, place: Place) {
        if let Some(touched) = &mut self.touched {
            touched.insert(place);
        }
    }
}
