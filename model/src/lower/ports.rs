//! The way of a Service's port into the image: staged in free space first, then switched; and out of it again.

use std::{collections::BTreeSet, sync::Arc};

use sluice_node_abi::{
    keys::{self, ClassKey, FrontendKey},
    values::{Class, Frontend, Port, frontend},
};

use super::{
    Lowered,
    schedules::{Content, Schedule},
    tables::Wanted,
};
use crate::{
    desired::{self, Owner, PortId, Treatment},
    facts::service::Reach,
    ids::{Freed, Full, Map},
    image::{Entry, Place},
    key::{Protocol, SplitKey},
    table::{self, Shares},
};

/// A port as it is in the wanted image.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) port: PortId,
    pub(super) id: u32,
    /// The first of its tables: everybody's. Those of the classes follow, in order.
    pub(super) root: u32,
    pub(super) owner: Owner,
    /// The names of its versions.
    pub(super) versions: Vec<Arc<str>>,
    /// The names of its classes of callers.
    pub(super) classes: Vec<Arc<str>>,
    pub(super) frontends: Vec<FrontendKey>,
    /// Whose nodes its node ports answer at.
    on_nodes: Reach,
    /// The versions' groups, each holding one reference.
    groups: Vec<(Arc<str>, u32)>,
    /// Of each table.
    schedules: Vec<Option<Schedule>>,
}

/// A port on its way into the image: everything taken, nothing switched.
pub(super) struct Staged {
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

    pub(super) fn split(&self) -> Option<&SplitKey> {
        match &self.owner {
            Owner::Split(split) => Some(split),
            Owner::Service => None,
        }
    }

    /// The row by which the pod of this cgroup gets the table of its class.
    pub(super) fn class_row(&self, cgroup: u64, caller: &Treatment) -> Option<(ClassKey, Class)> {
        let name = caller.classes.get(self.split()?)?;
        let mut tables = (self.root + 1..).zip(&self.classes);
        let (table, _) = tables.find(|(_, class)| *class == name)?;
        let key = ClassKey {
            root: self.root,
            reserved: 0,
            cgroup,
        };
        Some((key, Class::new(self.root, table)))
    }

    fn flags(&self, key: &FrontendKey) -> u32 {
        let own_node = key.scope == keys::SCOPE_NODES && self.on_nodes == Reach::Local;
        if own_node { frontend::OWN_NODE } else { 0 }
    }
}

impl Lowered {
    pub(super) fn stage_all(
        &mut self,
        ports: &[desired::Port],
        old: &[Live],
    ) -> Result<Vec<Staged>, Full> {
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
        let classes: Vec<Option<usize>> = port.callers().collect();
        let shares: Vec<Shares> = classes
            .iter()
            .map(|class| table::of_port(port, *class))
            .collect();
        let groups = self.stage_groups(port, &shares, old)?;
        let (mut wanted, mut schedules) = (Vec::new(), Vec::new());
        for (class, shares) in classes.into_iter().zip(&shares) {
            let content = Content::of(port, class, shares, &groups);
            schedules.push(content.schedule);
            wanted.push(self.wanted(port, content.mode, content.slots));
        }
        let mut live = Live {
            port: port.id,
            id: 0,
            root: 0,
            owner: port.owner.clone(),
            versions: port.versions.iter().map(|v| Arc::clone(&v.name)).collect(),
            classes: port.classes.iter().map(|c| Arc::clone(&c.name)).collect(),
            frontends: port
                .frontends
                .iter()
                .map(|frontend| frontend.key())
                .collect(),
            on_nodes: port.on_nodes,
            groups,
            schedules,
        };
        match self.stage_port(&mut live, old, &wanted) {
            Ok(word) => Ok(Staged { live, word }),
            Err(full) => {
                self.release_groups(&live);
                Err(full)
            }
        }
    }

    fn wanted(&self, port: &desired::Port, mode: u32, slots: Vec<u32>) -> Wanted {
        let mut wanted = Wanted {
            mode,
            affinity: port.affinity.unwrap_or_default(),
            counts: matches!(port.owner, Owner::Split(_)),
            slots,
            members: Vec::new(),
        };
        if keeps_backends(port) {
            let groups = wanted.groups().map(|group| self.image.groups.get(group));
            let members = groups.flat_map(|group| self.image.group_slots(group));
            wanted.members = members.collect::<BTreeSet<u32>>().into_iter().collect();
        }
        wanted
    }

    /// The groups of the versions that callers of any class are sent to.
    fn stage_groups(
        &mut self,
        port: &desired::Port,
        shares: &[Shares],
        old: Option<&Live>,
    ) -> Result<Vec<(Arc<str>, u32)>, Full> {
        let mut groups = Vec::<(Arc<str>, u32)>::with_capacity(port.versions.len());
        for (i, version) in port.versions.iter().enumerate() {
            let mut entries = shares.iter().filter_map(|shares| shares.entries.get(i));
            if !entries.any(|share| share.slots > 0 && !share.refuses) {
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

    /// Finds the port's id and its tables, which may be the ones it has.
    ///
    /// A port that an address is about to leave is not switched but replaced: else that address
    /// would for a moment show what the others are to show. So it is when the other nodes' addresses leave, and
    /// with an address that should have left and could not.
    fn stage_port(
        &mut self,
        live: &mut Live,
        old: Option<&Live>,
        wanted: &[Wanted],
    ) -> Result<Word, Full> {
        let mut counters = vec![None; wanted.len()];
        if let Some(old) = old {
            if old.classes == live.classes && self.holds(old.root, wanted) {
                live.id = old.id;
                live.root = old.root;
                return Ok(Word::Keep);
            }
            let stays = |key: &FrontendKey| {
                live.frontends.contains(key) && live.flags(key) == old.flags(key)
            };
            if old.frontends.iter().all(stays) && !self.misled.contains(&old.id) {
                live.id = old.id;
            }
            for (counter, schedule) in counters.iter_mut().zip(&live.schedules) {
                *counter = self.counter_of(old, schedule.as_ref());
            }
        } else if let Some(restored) = &mut self.restored {
            // A node port that moved here led to a port of another Service.
            let known = restored.ports_of(&live.frontends);
            for &(id, word) in &known {
                if word.tables().count() == wanted.len()
                    && let Some(tables) = restored.adopt_tables(word.root(), wanted, &self.image)
                {
                    live.id = id;
                    live.root = word.root();
                    restored.adopt_port(id);
                    self.adopt_tables(live.root, tables, wanted);
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
        match self.new_tables(wanted, &counters) {
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

    /// The counter that walks this schedule now.
    fn counter_of(&self, old: &Live, schedule: Option<&Schedule>) -> Option<u32> {
        let schedule = schedule?;
        let mut tables = (old.root..).zip(&old.schedules);
        let (table, _) = tables.find(|(_, known)| known.as_ref() == Some(schedule))?;
        Some(self.image.tables.get(table).own_counter())
    }

    /// Makes a staged port the wanted one.
    pub(super) fn switch(&mut self, staged: Staged) -> Live {
        let Staged { live, word } = staged;
        match word {
            Word::Keep => {}
            Word::Adopt(word) => self.put(&Entry::Port(live.id, word)),
            Word::Switch => {
                let classes = u32::try_from(live.classes.len()).unwrap_or_default();
                let word = Port::new(live.root, self.next_generation()).with_classes(classes);
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
    pub(super) fn release(&mut self, old: &Live, new: Option<&Live>) {
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
            self.release_tables(old);
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
            self.release_tables(&live);
        }
        self.release_groups(&live);
        if !self.image.ports.contains(live.id) {
            self.ids.free(Freed::Port(live.id));
        }
    }

    fn release_tables(&mut self, live: &Live) {
        for (table, _) in (live.root..).zip(&live.schedules) {
            self.release_table(table);
        }
    }

    fn release_groups(&mut self, live: &Live) {
        for (_, group) in &live.groups {
            self.release_group(*group);
        }
    }
}

/// Whether callers of the port ask again for the backend that they had: clients of a Service with affinity, and
/// sockets that send datagrams.
fn keeps_backends(port: &desired::Port) -> bool {
    port.affinity.is_some() || port.id.protocol == Protocol::Udp
}
