//! The way of a Service's port into the image: staged in free space first, then switched; and out of it again.

use std::sync::Arc;

use sluice_crds::split::Selection;
use sluice_node_abi::{
    keys::{self, FrontendKey},
    values::{Frontend, Port, frontend, mode},
};

use super::{
    Lowered,
    tables::{Placed, Wanted},
};
use crate::{
    desired::{self, PortId},
    facts::service::Reach,
    ids::{Freed, Full, Map},
    image::{Entry, Place},
    key::Protocol,
    table,
};

/// A port as it is in the wanted image.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) port: PortId,
    pub(super) id: u32,
    root: u32,
    pub(super) frontends: Vec<FrontendKey>,
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
        let shares = table::of_port(port, None);
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
        let members = if keeps_backends(port) {
            self.members_of(&live.groups)
        } else {
            Vec::new()
        };
        let table = Wanted {
            mode,
            affinity: port.affinity.unwrap_or_default(),
            slots: &slots,
            members: &members,
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
        let mut groups = Vec::<(Arc<str>, u32)>::with_capacity(port.versions.len());
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
    /// would for a moment show what the others are to show. So it is when the other nodes' addresses leave, and
    /// with an address that should have left and could not.
    fn stage_port(
        &mut self,
        live: &mut Live,
        old: Option<&Live>,
        wanted: &Wanted<'_>,
    ) -> Result<Word, Full> {
        let mut counter = None;
        if let Some(old) = old {
            let table = self.image.tables.get(old.root);
            let (offset, length) = table.own_slots();
            let own = self.image.slots.run(offset, length);
            if wanted.row(&self.image, Placed::of(table)) == table && own.eq(wanted.own_slots()) {
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
            let same_schedule = live.schedule.is_some() && live.schedule == old.schedule;
            counter = same_schedule.then_some(table.own_counter());
        } else if let Some(restored) = &mut self.restored {
            // A node port that moved here led to a port of another Service.
            let known = restored.ports_of(&live.frontends);
            for &(id, word) in &known {
                if let Some(table) = restored.adopt_table(word.root(), wanted, &self.image) {
                    live.id = id;
                    live.root = word.root();
                    restored.adopt_port(id);
                    self.adopt_table(live.root, table, wanted);
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
    pub(super) fn switch(&mut self, staged: Staged) -> Live {
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

    /// Every backend of these groups, ordered, each once.
    fn members_of(&self, groups: &[(Arc<str>, u32)]) -> Vec<u32> {
        let image = &self.image;
        let slots = |(_, group): &(_, u32)| image.group_slots(image.groups.get(*group));
        let mut members: Vec<u32> = groups.iter().flat_map(slots).collect();
        members.sort_unstable();
        members.dedup();
        members
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
