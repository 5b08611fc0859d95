//! Rows that several ports can use: groups, backends, counters. Each counts its users.

use std::{collections::BTreeMap, sync::Arc};

use sluice_node_abi::{
    keys,
    values::{self, mode},
};

use super::Lowered;
use crate::{
    desired::Backend,
    facts::service::Balancing,
    ids::{Freed, Full, Map},
    image::{Entry, Place},
    key::Protocol,
    maglev,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    groups: BTreeMap<u32, LiveGroup>,
    group_of: BTreeMap<(Protocol, Balancing, Arc<[Backend]>), u32>,
    backends: BTreeMap<(Protocol, Backend), LiveBackend>,
    counters: BTreeMap<u32, u32>,
}

#[derive(Clone, Debug)]
struct LiveGroup {
    users: u32,
    protocol: Protocol,
    balancing: Balancing,
    backends: Arc<[Backend]>,
}

#[derive(Clone, Copy, Debug)]
struct LiveBackend {
    id: u32,
    users: u32,
}

impl Lowered {
    /// The group with these backends. A new one goes on with the counter of the group that it
    /// replaces, unless somebody else uses that: then round robin does not start over with the first
    /// backend whenever a pod comes or goes.
    pub(super) fn acquire_group(
        &mut self,
        protocol: Protocol,
        balancing: Balancing,
        backends: &Arc<[Backend]>,
        before: Option<u32>,
    ) -> Result<u32, Full> {
        // Among one there is nothing to balance.
        let balancing = match backends.len() {
            1 => Balancing::RoundRobin,
            _ => balancing,
        };
        let content = (protocol, balancing, Arc::clone(backends));
        if let Some(&id) = self.shared.group_of.get(&content) {
            if let Some(group) = self.shared.groups.get_mut(&id) {
                group.users += 1;
            }
            return Ok(id);
        }
        let ids = self.acquire_backends(protocol, backends)?;
        let mode = mode_of(balancing);
        let slots: Vec<u32> = match balancing {
            Balancing::Consistent => maglev::fill(backends).into_iter().map(|i| ids[i]).collect(),
            _ => ids,
        };
        let restored = self.restored.as_mut();
        let restored = restored.and_then(|r| r.adopt_group(mode, protocol, backends, slots.len()));
        let (id, group) = match restored {
            Some((id, group)) => {
                if group.counter != 0 {
                    self.use_counter(group.counter);
                }
                (id, group)
            }
            None => match self.new_group(mode, &slots, before) {
                Ok(group) => group,
                Err(full) => {
                    self.release_backends(protocol, backends);
                    return Err(full);
                }
            },
        };
        self.put(&Entry::Slots(group.offset, slots.into()));
        self.put(&Entry::Group(id, group));
        self.shared.group_of.insert(content, id);
        self.shared.groups.insert(
            id,
            LiveGroup {
                users: 1,
                protocol,
                balancing,
                backends: Arc::clone(backends),
            },
        );
        Ok(id)
    }

    pub(super) fn release_group(&mut self, id: u32) {
        let Some(group) = self.shared.groups.get_mut(&id) else {
            return;
        };
        group.users -= 1;
        if group.users > 0 {
            return;
        }
        let Some(LiveGroup {
            users: _,
            protocol,
            balancing,
            backends,
        }) = self.shared.groups.remove(&id)
        else {
            return;
        };
        let values::Group {
            mode: _,
            offset,
            length,
            counter,
        } = self.image.groups.get(id);
        self.delete(Place::Group(id));
        self.delete(Place::Slots(offset, length));
        self.ids.free(Freed::Group { id, offset, length });
        self.drop_counter(counter);
        self.release_backends(protocol, &backends);
        self.shared
            .group_of
            .remove(&(protocol, balancing, backends));
    }

    /// A counter that starts at 0 when it reaches the maps.
    pub(super) fn new_counter(&mut self) -> Result<u32, Full> {
        let counter = self.ids.take(Map::Counters, 1)?;
        self.use_counter(counter);
        Ok(counter)
    }

    pub(super) fn use_counter(&mut self, counter: u32) {
        let users = self.shared.counters.entry(counter).or_default();
        *users += 1;
        if *users == 1 {
            self.put(&Entry::Counter(counter));
        }
    }

    pub(super) fn drop_counter(&mut self, counter: u32) {
        let Some(users) = self.shared.counters.get_mut(&counter) else {
            return;
        };
        *users -= 1;
        if *users == 0 {
            self.shared.counters.remove(&counter);
            self.delete(Place::Counter(counter));
            self.ids.free(Freed::Counter(counter));
        }
    }

    /// One slot needs no counter: there is nothing to walk.
    fn new_group(
        &mut self,
        mode: u32,
        slots: &[u32],
        before: Option<u32>,
    ) -> Result<(u32, values::Group), Full> {
        let length = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let id = self.ids.take(Map::Groups, 1)?;
        let offset = match self.ids.take(Map::Slots, length) {
            Ok(offset) => offset,
            Err(full) => {
                self.ids.free(Freed::Group {
                    id,
                    offset: 0,
                    length: 0,
                });
                return Err(full);
            }
        };
        let counter = if mode != mode::SEQUENCE || length == 1 {
            Ok(0)
        } else {
            match self.inherited_counter(before) {
                Some(counter) => {
                    self.use_counter(counter);
                    Ok(counter)
                }
                None => self.new_counter(),
            }
        };
        match counter {
            Ok(counter) => Ok((
                id,
                values::Group {
                    mode,
                    offset,
                    length,
                    counter,
                },
            )),
            Err(full) => {
                self.ids.free(Freed::Group { id, offset, length });
                Err(full)
            }
        }
    }

    fn inherited_counter(&self, before: Option<u32>) -> Option<u32> {
        let before = before?;
        let counter = self.image.groups.get(before).counter;
        let only_user = self.shared.groups.get(&before)?.users == 1;
        (counter != 0 && only_user).then_some(counter)
    }

    fn acquire_backends(
        &mut self,
        protocol: Protocol,
        backends: &[Backend],
    ) -> Result<Vec<u32>, Full> {
        let mut ids = Vec::with_capacity(backends.len());
        for &backend in backends {
            match self.acquire_backend(protocol, backend) {
                Ok(id) => ids.push(id),
                Err(full) => {
                    self.release_backends(protocol, &backends[..ids.len()]);
                    return Err(full);
                }
            }
        }
        Ok(ids)
    }

    fn acquire_backend(&mut self, protocol: Protocol, backend: Backend) -> Result<u32, Full> {
        let content = (protocol, backend);
        if let Some(live) = self.shared.backends.get_mut(&content) {
            live.users += 1;
            return Ok(live.id);
        }
        let restored = self.restored.as_mut();
        let restored = restored.and_then(|r| r.adopt_backend(protocol, backend));
        let (id, value) = match restored {
            Some(known) => known,
            None => {
                let id = self.ids.take(Map::Backends, 1)?;
                let value = values::Backend {
                    address: keys::address(backend.ip),
                    port: backend.port.get().to_be_bytes(),
                    protocol: protocol.number(),
                    reserved: 0,
                    generation: self.next_generation(),
                };
                (id, value)
            }
        };
        self.put(&Entry::Backend(id, value));
        let live = LiveBackend { id, users: 1 };
        self.shared.backends.insert(content, live);
        Ok(id)
    }

    fn release_backends(&mut self, protocol: Protocol, backends: &[Backend]) {
        for &backend in backends {
            let content = (protocol, backend);
            let Some(live) = self.shared.backends.get_mut(&content) else {
                continue;
            };
            live.users -= 1;
            if live.users == 0 {
                let id = live.id;
                self.shared.backends.remove(&content);
                self.delete(Place::Backend(id));
                self.ids.free(Freed::Backend(id));
            }
        }
    }
}

const fn mode_of(balancing: Balancing) -> u32 {
    match balancing {
        Balancing::RoundRobin => mode::SEQUENCE,
        Balancing::Random => mode::RANDOM,
        Balancing::LeastConnections => mode::LEAST_SOCKETS,
        Balancing::Consistent => mode::CONSISTENT,
    }
}
