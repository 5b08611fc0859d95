//! The one dump of an image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
    net::SocketAddr,
};

use sluice_node_abi::{
    keys::{self, FrontendKey},
    slots,
    values::{Backend, Frontend, Group, Port, Table, caller, frontend, mode, node},
};

use super::Image;
use crate::hash::fnv;

/// Schedules up to this length are printed in full, longer ones by their sum.
const PRINTED_SLOTS: usize = 64;

impl Display for Image {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (address, value) in &self.nodes {
            let whose = if value.flags & node::OWN != 0 {
                "this node"
            } else {
                "another node"
            };
            writeln!(f, "{} is {whose}", keys::ip(*address))?;
        }
        for (cgroup, value) in &self.callers {
            let treatment = if value.flags & caller::OPTED_OUT != 0 {
                "has opted out"
            } else {
                "is told apart"
            };
            writeln!(f, "the pod of cgroup {cgroup} {treatment}")?;
        }
        let mut fronts: BTreeMap<u32, Vec<(FrontendKey, Frontend)>> = BTreeMap::new();
        for (key, frontend) in &self.frontends {
            let front = (*key, *frontend);
            fronts.entry(frontend.port).or_default().push(front);
        }
        let mut ports: Vec<(Vec<(FrontendKey, Frontend)>, u32)> =
            fronts.into_iter().map(|(id, keys)| (keys, id)).collect();
        ports.sort_unstable_by(|a, b| a.0.iter().map(|f| f.0).cmp(b.0.iter().map(|f| f.0)));
        let mut reached = Reached::default();
        for (keys, id) in ports {
            for (key, value) in keys {
                writeln!(f, "{}", frontend(key, value))?;
            }
            self.port(f, id, &mut reached)?;
        }
        self.unreached(f, &reached)
    }
}

#[derive(Default)]
struct Reached {
    ports: BTreeSet<u32>,
    tables: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    backends: BTreeSet<u32>,
}

impl Image {
    fn port(&self, f: &mut Formatter<'_>, id: u32, reached: &mut Reached) -> fmt::Result {
        let port = self.ports.get(id);
        if port == Port::default() {
            return writeln!(f, "  port {id} is not there");
        }
        reached.ports.insert(id);
        if f.alternate() {
            writeln!(f, "  port {id} generation {}", port.generation())?;
        }
        let root = port.root();
        self.tiers(f, root, reached)?;
        for (class, table) in port.tables().enumerate().skip(1) {
            let pods = self
                .classes_of(root)
                .filter(|(_, row)| row.table() == table);
            write!(f, "  class {class}, pods of cgroups")?;
            for (key, _) in pods {
                write!(f, " {}", key.cgroup)?;
            }
            writeln!(f)?;
            self.tiers(f, table, reached)?;
        }
        for (key, row) in self.classes_of(root) {
            if !port.tables().contains(&row.table()) || row.root() != root {
                writeln!(f, "  the pod of cgroup {} is in no class", key.cgroup)?;
            }
        }
        Ok(())
    }

    /// A table and its fall-backs.
    fn tiers(&self, f: &mut Formatter<'_>, root: u32, reached: &mut Reached) -> fmt::Result {
        let mut next = root;
        while next != 0 {
            let table = self.tables.get(next);
            if table == Table::default() {
                return writeln!(f, "  table {next} is not there");
            }
            if !reached.tables.insert(next) {
                return writeln!(f, "  table {next} again");
            }
            self.table(f, next, table, reached)?;
            next = table.next;
        }
        Ok(())
    }

    fn table(
        &self,
        f: &mut Formatter<'_>,
        id: u32,
        table: Table,
        reached: &mut Reached,
    ) -> fmt::Result {
        let mut groups: Vec<u32> = Vec::new();
        let mut letters = String::new();
        for group in self.table_slots(table).map(slots::group) {
            if group == 0 {
                letters.push('-');
                continue;
            }
            let at = groups.iter().position(|g| *g == group).unwrap_or_else(|| {
                groups.push(group);
                groups.len() - 1
            });
            letters.push(letter(at));
        }
        let how = match table.group {
            0 => table.mode,
            _ => mode::SEQUENCE,
        };
        let length = letters.chars().count();
        write!(f, "  {} ", mode_name(how))?;
        if length <= PRINTED_SLOTS {
            write!(f, "{letters}")?;
        } else {
            write!(f, "{length} slots {:016x}:", fnv(letters.bytes()))?;
            for at in 0..groups.len() {
                let count = letters.chars().filter(|c| *c == letter(at)).count();
                write!(f, " {count} {}", letter(at))?;
            }
            let refused = letters.chars().filter(|c| *c == '-').count();
            if refused > 0 {
                write!(f, " {refused} -")?;
            }
        }
        if table.affinity != 0 {
            write!(f, ", the same for {} s", table.affinity)?;
        }
        if f.alternate() {
            let (offset, _) = table.own_slots();
            write!(
                f,
                "  (table {id} at {offset} counter {})",
                table.own_counter()
            )?;
        }
        writeln!(f)?;
        for (at, group) in groups.into_iter().enumerate() {
            self.group(f, letter(at), group, reached)?;
        }
        Ok(())
    }

    fn group(
        &self,
        f: &mut Formatter<'_>,
        letter: char,
        id: u32,
        reached: &mut Reached,
    ) -> fmt::Result {
        let group = self.groups.get(id);
        if group == Group::default() {
            return writeln!(f, "    {letter} group {id} is not there");
        }
        reached.groups.insert(id);
        write!(f, "    {letter} {}", mode_name(group.mode))?;
        let mut slots: Vec<u32> = self.group_slots(group).collect();
        if group.mode == mode::CONSISTENT {
            // Many slots, few backends; where they stand follows from what they are.
            slots.sort_unstable_by_key(|id| {
                let backend = self.backends.get(*id);
                (backend.address, backend.port, *id)
            });
            slots.dedup();
        }
        for backend in slots {
            reached.backends.insert(backend);
            let value = self.backends.get(backend);
            if value == Backend::default() {
                write!(f, " backend {backend} is not there")?;
            } else {
                write!(f, " {}", address(value.address, value.port))?;
            }
            if f.alternate() {
                write!(f, "#{backend}.{}", value.generation)?;
            }
        }
        if f.alternate() {
            write!(
                f,
                "  (group {id} at {} counter {})",
                group.offset, group.counter
            )?;
        }
        writeln!(f)
    }

    /// Rows that no frontend leads to: there should never be any between passes.
    fn unreached(&self, f: &mut Formatter<'_>, reached: &Reached) -> fmt::Result {
        for (id, _) in self.ports.iter() {
            if !reached.ports.contains(&id) {
                writeln!(f, "unreached port {id}")?;
            }
        }
        for key in self.classes.keys() {
            if !reached.tables.contains(&key.root) {
                writeln!(f, "unreached class of callers at table {}", key.root)?;
            }
        }
        for (id, _) in self.tables.iter() {
            if !reached.tables.contains(&id) {
                writeln!(f, "unreached table {id}")?;
            }
        }
        for (id, _) in self.groups.iter() {
            if !reached.groups.contains(&id) {
                writeln!(f, "unreached group {id}")?;
            }
        }
        for (id, backend) in self.backends.iter() {
            if !reached.backends.contains(&id) {
                let address = address(backend.address, backend.port);
                writeln!(f, "unreached backend {id} {address}")?;
            }
        }
        Ok(())
    }
}

fn frontend(key: FrontendKey, value: Frontend) -> String {
    let protocol = match key.protocol {
        keys::TCP => "TCP".to_owned(),
        keys::UDP => "UDP".to_owned(),
        other => format!("protocol {other}"),
    };
    let address = address(key.address, key.port);
    let own = value.flags & frontend::OWN_NODE != 0;
    match key.scope {
        keys::SCOPE_ANY => format!("{address}/{protocol}"),
        keys::SCOPE_NODES if own => format!("{address}/{protocol} on this node"),
        keys::SCOPE_NODES => format!("{address}/{protocol} on every node"),
        scope => format!("{address}/{protocol} in scope {scope}"),
    }
}

fn address(address: keys::Address, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(keys::ip(address), u16::from_be_bytes(port))
}

fn mode_name(mode: u32) -> String {
    match mode {
        mode::SEQUENCE => "sequence".to_owned(),
        mode::RANDOM => "random".to_owned(),
        mode::LEAST_SOCKETS => "least sockets".to_owned(),
        mode::CONSISTENT => "consistent".to_owned(),
        mode::STICKY => "sticky".to_owned(),
        other => format!("mode {other}"),
    }
}

/// A to Z and on through the alphabets: there are at most as many groups as versions.
fn letter(at: usize) -> char {
    u32::try_from(at)
        .ok()
        .and_then(|at| char::from_u32(u32::from('A') + at))
        .unwrap_or('?')
}
