//! From the wanted dataplane to the wanted image, one Service at a time.
//!
//! Everything that a port can reach is put into space that nothing uses, and the port's word is
//! changed last; what it reached before is given back. A Service is lowered whole or not at all:
//! where a map has no room, the Service stays as it was. An unchanged table is not touched, and a
//! changed one keeps its counter when its schedule is the same.

mod places;
mod shared;
pub(crate) mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sluice_crds::split::Selection;
use sluice_node_abi::{
    keys::{self, FrontendKey},
    maps,
    values::{Frontend, Port, frontend, mode},
};

use crate::{
    desired::{self, PortId},
    facts::service::Reach,
    ids::{Capacities, Freed, Full, Ids, Map, Restored},
    image::{Entry, Image, Place},
    key::ServiceKey,
    table,
};
use shared::Shared;

/// The wanted image with the ids that hold it together.
#[derive(Clone, Debug)]
pub struct Lowered {
    ids: Ids,
    image: Image,
    shared: Shared,
    services: BTreeMap<ServiceKey, Vec<Live>>,
    restored: Option<Restored>,
    /// What has changed, while anybody wants to know.
    touched: Option<BTreeSet<Place>>,
}

/// A port as it is in the wanted image.
#[derive(Clone, Debug)]
struct Live {
    port: PortId,
    id: u32,
    root: u32,
    frontends: Vec<FrontendKey>,
    /// Whose nodes its node ports answer at.
    on_nodes: Reach,
    /// The versions' groups, each holding one reference.
    groups: Vec<(Arc<str>, u32)>,
    schedule: Option<Schedule>,
}

/// What makes a schedule the same schedule, whatever groups its slots name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Schedule(Vec<(Arc<str>, u32)>);

/// A port on its way into the image: everything taken, nothing switched.
struct Staged {
    live: Live,
    word: Word,
}

/// What becomes of the port's entry in `PORTS`.
enum Word {
    Keep,
    /// The maps held exactly this before a restart.
    Adopt(Port),
    Switch,
}

impl Live {
    /// The row of one of its frontends.
    fn front(&self, key: &FrontendKey) -> Frontend {
        Frontend {
            port: self.id,
            flags: self.flags(key),
        }
    }

    fn flags(&self, key: &FrontendKey) -> u32 {
        let own_node = key.scope == keys::SCOPE_NODES && self.on_nodes == Reach::Local;
        if own_node { frontend::OWN_NODE } else { 0 }
    }
}

impl Lowered {
    pub fn new(capacities: Capacities) -> Self {
        Self {
            ids: Ids::new(capacities),
            image: Image::default(),
            shared: Shared::default(),
            services: BTreeMap::new(),
            restored: None,
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

    /// What callers of a Service meet first: its ports and frontends.
    pub fn fronts(&self, service: &ServiceKey) -> impl Iterator<Item = Place> {
        let ports = self.services.get(service).into_iter().flatten();
        ports.flat_map(|live| {
            let frontends = live.frontends.iter().copied().map(Place::Frontend);
            frontends.chain([Place::Port(live.id)])
        })
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

    fn stage_all(&mut self, ports: &[desired::Port], old: &[Live]) -> Result<Vec<Staged>, Full> {
        let mut all = Vec::with_capacity(ports.len());
        for port in ports {
            let old = old.iter().find(|live| live.port == port.id);
            match self.stage(port, old) {
                Ok(staged) => all.push(staged),
                Err(full) => {
                    for staged in all {
                        self.discard(staged);
                    }
                    return Err(full);
                }
            }
        }
        Ok(all)
    }

    fn stage(&mut self, port: &desired::Port, old: Option<&Live>) -> Result<Staged, Full> {
        let shares = table::shares(&port.versions, port.when_unavailable);
        let groups = self.stage_groups(port, &shares, old)?;
        let slots = slots_of(port, &shares, &groups);
        let mode = match port.selection {
            Selection::Random if slots.len() > 1 => mode::RANDOM,
            // Nothing compiles to a sticky port.
            Selection::Random | Selection::Sequence | Selection::Sticky => mode::SEQUENCE,
        };
        let schedule = (mode == mode::SEQUENCE && slots.len() > 1).then(|| {
            let entries = port.versions.iter().zip(&shares.entries);
            Schedule(
                entries
                    .map(|(v, s)| (Arc::clone(&v.name), s.slots))
                    .collect(),
            )
        });
        let mut live = Live {
            port: port.id,
            id: 0,
            root: 0,
            frontends: port
                .frontends
                .iter()
                .map(|frontend| frontend.key())
                .collect(),
            on_nodes: port.on_nodes,
            groups,
            schedule,
        };
        let table = tables::Wanted {
            mode,
            affinity: port.affinity.unwrap_or_default(),
            slots: &slots,
        };
        match self.stage_port(&mut live, old, &table) {
            Ok(word) => Ok(Staged { live, word }),
            Err(full) => {
                self.release_groups(&live);
                Err(full)
            }
        }
    }

    fn stage_groups(
        &mut self,
        port: &desired::Port,
        shares: &table::Shares,
        old: Option<&Live>,
    ) -> Result<Vec<(Arc<str>, u32)>, Full> {
        let mut groups: Vec<(Arc<str>, u32)> = Vec::new();
        for (version, share) in port.versions.iter().zip(&shares.entries) {
            if share.refuses || share.slots == 0 {
                continue;
            }
            let before = old.and_then(|live| live.groups.iter().find(|(n, _)| *n == version.name));
            let before = before.map(|(_, group)| *group);
            match self.acquire_group(port.id.protocol, port.balancing, &version.backends, before) {
                Ok(group) => groups.push((Arc::clone(&version.name), group)),
                Err(full) => {
                    for (_, group) in groups {
                        self.release_group(group);
                    }
                    return Err(full);
                }
            }
        }
        Ok(groups)
    }

    /// Finds the port's id and its table, which may be the ones it has.
    ///
    /// A port that an address is about to leave is not switched but replaced: else that address
    /// would for a moment show what the others are to show. So it is when the other nodes' addresses leave.
    fn stage_port(
        &mut self,
        live: &mut Live,
        old: Option<&Live>,
        wanted: &tables::Wanted<'_>,
    ) -> Result<Word, Full> {
        let mut counter = None;
        if let Some(old) = old {
            let table = self.image.tables.get(old.root);
            if wanted.is(table)
                && self
                    .image
                    .table_slots(table)
                    .eq(wanted.slots.iter().copied())
            {
                live.id = old.id;
                live.root = old.root;
                return Ok(Word::Keep);
            }
            let stays = |key: &FrontendKey| {
                live.frontends.contains(key) && live.flags(key) == old.flags(key)
            };
            if old.frontends.iter().all(stays) {
                live.id = old.id;
            }
            let same_schedule = live.schedule.is_some() && live.schedule == old.schedule;
            counter = same_schedule.then_some(table.counter);
        } else if let Some(restored) = &mut self.restored {
            // A node port that moved here led to a port of another Service.
            let known = restored.ports_of(&live.frontends);
            for &(id, word) in &known {
                if let Some(table) = restored.adopt_table(word.root(), wanted) {
                    live.id = id;
                    live.root = word.root();
                    restored.adopt_port(id);
                    self.adopt_table(live.root, table, wanted.slots);
                    return Ok(Word::Adopt(word));
                }
            }
            let own = |(id, _): &&(u32, _)| restored.is_led_to_only_by(*id, &live.frontends);
            if let Some((id, _)) = known.iter().find(own) {
                live.id = *id;
                restored.adopt_port(*id);
            }
        }
        let fresh = live.id == 0;
        if fresh {
            live.id = self.ids.take(Map::Ports, 1)?;
        }
        match self.new_table(wanted, counter) {
            Ok(root) => live.root = root,
            Err(full) => {
                if fresh {
                    self.ids.free(Freed::Port(live.id));
                }
                return Err(full);
            }
        }
        Ok(Word::Switch)
    }

    /// Makes a staged port the wanted one.
    fn switch(&mut self, staged: Staged) -> Live {
        let Staged { live, word } = staged;
        match word {
            Word::Keep => {}
            Word::Adopt(word) => self.put(&Entry::Port(live.id, word)),
            Word::Switch => {
                let word = Port::new(live.root, self.next_generation());
                self.put(&Entry::Port(live.id, word));
            }
        }
        for key in &live.frontends {
            let frontend = live.front(key);
            if self.image.frontends.get(key) != Some(&frontend) {
                self.put(&Entry::Frontend(*key, frontend));
            }
        }
        live
    }

    /// Gives back what the old port had and the new one has not.
    fn release(&mut self, old: &Live, new: Option<&Live>) {
        let kept = new.map_or(&[][..], |new| &new.frontends);
        for key in &old.frontends {
            // Another Service may have taken the address over in this very pass.
            let found = self.image.frontends.get(key);
            let own = found.is_some_and(|frontend| frontend.port == old.id);
            if own && !kept.contains(key) {
                self.delete(Place::Frontend(*key));
            }
        }
        if new.is_none_or(|new| new.root != old.root) {
            self.release_table(old.root);
        }
        self.release_groups(old);
        if new.is_none() {
            self.delete(Place::Port(old.id));
            self.ids.free(Freed::Port(old.id));
        }
    }

    /// Gives back what was taken for a port that will not be.
    fn discard(&mut self, staged: Staged) {
        let Staged { live, word } = staged;
        if !matches!(word, Word::Keep) {
            self.release_table(live.root);
        }
        self.release_groups(&live);
        if !self.image.ports.contains(live.id) {
            self.ids.free(Freed::Port(live.id));
        }
    }

    fn release_groups(&mut self, live: &Live) {
        for (_, group) in &live.groups {
            self.release_group(*group);
        }
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

/// The group of each slot; one slot that refuses when nothing can be chosen.
fn slots_of(port: &desired::Port, shares: &table::Shares, groups: &[(Arc<str>, u32)]) -> Vec<u32> {
    let of_version = |name: &Arc<str>| {
        let mut groups = groups.iter();
        groups.find(|(n, _)| n == name).map_or(0, |(_, id)| *id)
    };
    let groups: Vec<u32> = port.versions.iter().map(|v| of_version(&v.name)).collect();
    let counts: Vec<u32> = shares.entries.iter().map(|share| share.slots).collect();
    if shares.length == 0 {
        return vec![0];
    }
    let order = table::schedule(&counts);
    order.into_iter().map(|version| groups[version]).collect()
}
