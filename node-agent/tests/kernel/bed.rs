//! A light node with our programs on its cgroup and rows that a test writes itself.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;
use sluice_node_abi::{
    keys::{self, FrontendKey},
    slots,
    values::{Backend, BackendRow, Frontend, Group, Port, Table, mode},
};
use sluice_node_agent::{
    maps::kernel::Kernel,
    program::{Pins, Programs, Refusal, Sizes},
};
use sluice_testbed::{fabric::Fabric, node::Node};
use zerocopy::IntoBytes;

/// Where the tests' frontends are. Outside of every address that a testbed gives out.
pub(crate) const SERVICE_V4: &str = "198.18.0.1";
pub(crate) const SERVICE_V6: &str = "fd5e:1::1";

pub(crate) struct Bed {
    pub(crate) node: Node,
    pub(crate) pins: Pins,
    pub(crate) programs: Programs,
    pub(crate) maps: Kernel,
    pub(crate) fabric: Arc<Fabric>,
    ids: u32,
    slots: u32,
}

impl Bed {
    pub(crate) fn start(refusal: Refusal) -> Result<Self> {
        let fabric = Arc::new(Fabric::start()?);
        let node = fabric.node("node-1")?;
        let pins = Pins::new(node.bpffs());
        let programs = Programs::load(&pins, refusal, Sizes::default())?;
        programs.attach(node.cgroup().path())?;
        let maps = Kernel::open(&pins)?;
        Ok(Self {
            node,
            pins,
            programs,
            maps,
            fabric,
            ids: 0,
            slots: 0,
        })
    }

    /// Programs and maps of another load balancer on the same cgroup, as after ours in line.
    pub(crate) fn beside(&self, name: &str) -> Result<Self> {
        let pins = Pins::new(self.node.bpffs().join(name));
        let programs = Programs::load(&pins, Refusal::SetRetval, Sizes::default())?;
        programs.attach(self.node.cgroup().path())?;
        let maps = Kernel::open(&pins)?;
        Ok(Self {
            node: self.node.clone(),
            pins,
            programs,
            maps,
            fabric: Arc::clone(&self.fabric),
            ids: 0,
            slots: 0,
        })
    }

    /// The maps anew, for an owner of their own.
    pub(crate) fn own_maps(&self) -> Result<Kernel> {
        Ok(Kernel::open(&self.pins)?)
    }

    /// How many sockets count as open, over all backends that there are.
    pub(crate) fn open_sockets(&self) -> Result<u64> {
        let mut sum = 0;
        self.maps.backends.each(|_, row| sum += row.sockets)?;
        Ok(sum)
    }

    /// An id that no map has in use yet.
    pub(crate) fn id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn slots(&mut self, content: &[u32]) -> Result<(u32, u32)> {
        let offset = self.slots;
        for (index, value) in (offset..).zip(content) {
            self.maps.slots.write(index, *value)?;
        }
        self.slots += content.len() as u32;
        Ok((offset, content.len() as u32))
    }

    /// A group that walks these backends round and round.
    pub(crate) fn group(&mut self, backends: &[SocketAddr], protocol: u8) -> Result<u32> {
        let mut ids = Vec::new();
        for backend in backends {
            let id = self.id();
            let backend = Backend {
                address: keys::address(backend.ip()),
                port: backend.port().to_be_bytes(),
                protocol,
                reserved: 0,
                generation: id,
            };
            let row = BackendRow {
                backend,
                sockets: 0,
            };
            self.maps.backends.write(id, row)?;
            ids.push(id);
        }
        self.group_of(&ids)
    }

    /// A group that walks backends that have rows already.
    pub(crate) fn group_of(&mut self, ids: &[u32]) -> Result<u32> {
        let (offset, length) = self.slots(ids)?;
        let id = self.id();
        self.maps.groups.write(
            id,
            Group {
                mode: mode::SEQUENCE,
                offset,
                length,
                counter: id,
            },
        )?;
        Ok(id)
    }

    /// A table that leads to these groups, or is the only one, and lists their backends.
    pub(crate) fn table(&mut self, mode: u32, groups: &[u32]) -> Result<u32> {
        let mut members = BTreeSet::new();
        for group in groups.iter().filter(|group| **group != 0) {
            members.extend(self.backends_of(*group)?);
        }
        let members: Vec<u32> = members.into_iter().collect();
        let id = self.id();
        let mut table = Table::default();
        let carried = if let [group] = *groups
            && group != 0
        {
            let row = self.maps.groups.read(group)?;
            table.group = group;
            table.mode = row.mode;
            (table.offset, table.length) = (row.offset, row.length);
            table.counter = row.counter;
            self.backends_of(group)?
        } else {
            table.mode = mode;
            (table.offset, table.length) = self.slots(groups)?;
            table.counter = id;
            // Those of the versions follow.
            self.ids += slots::VERSIONS;
            groups.to_vec()
        };
        (table.members, table.member_count) = self.slots(&members)?;
        for (slot, content) in table.carried.iter_mut().zip(carried) {
            *slot = content;
        }
        self.maps.tables.write(id, table)?;
        Ok(id)
    }

    /// What stands in a group's slots.
    fn backends_of(&self, group: u32) -> Result<Vec<u32>> {
        let Group { offset, length, .. } = self.maps.groups.read(group)?;
        let slots = (offset..offset + length).map(|slot| self.maps.slots.read(slot));
        Ok(slots.collect::<Result<_, _>>()?)
    }

    /// A port that answers at this address with this table.
    pub(crate) fn frontend(&mut self, at: SocketAddr, protocol: u8, table: u32) -> Result<u32> {
        let id = self.id();
        self.maps.ports.swap(id, Port::new(table, id))?;
        let key = FrontendKey {
            address: keys::address(at.ip()),
            port: at.port().to_be_bytes(),
            protocol,
            scope: keys::SCOPE_ANY,
        };
        let value = Frontend { port: id, flags: 0 };
        self.maps.frontends.insert(
            <[u8; 20]>::try_from(key.as_bytes())?,
            <[u8; 8]>::try_from(value.as_bytes())?,
            0,
        )?;
        Ok(id)
    }

    /// A plain Service: one address, these backends.
    pub(crate) fn service(
        &mut self,
        at: SocketAddr,
        protocol: u8,
        backends: &[SocketAddr],
    ) -> Result<u32> {
        let group = self.group(backends, protocol)?;
        let table = self.table(mode::SEQUENCE, &[group])?;
        self.frontend(at, protocol, table)
    }
}

pub(crate) fn at(ip: &str, port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(ip.parse::<IpAddr>()?, port))
}
