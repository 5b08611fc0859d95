//! What a table of a port holds: which versions callers of one class get, and in which order.

use std::sync::Arc;

use sluice_crds::split::Selection;
use sluice_node_abi::{slots, values::mode};

use crate::{
    desired::{Owner, Port},
    table::{self, Shares},
};

/// What makes a schedule the same schedule, whatever groups its slots name. One that is not walked is the same while
/// it is over the same versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    mode: u32,
    class: Option<Arc<str>>,
    versions: Vec<(Arc<str>, u32)>,
}

/// A mode, the slots that are chosen by it, and what they are a schedule of if they are a split's.
pub(super) struct Content {
    pub(super) mode: u32,
    pub(super) slots: Vec<u32>,
    pub(super) schedule: Option<Schedule>,
}

impl Content {
    /// For callers of this class with these shares, over groups by the names of versions. When nothing can be
    /// chosen, the one slot refuses.
    pub(super) fn of(
        port: &Port,
        class: Option<usize>,
        shares: &Shares,
        groups: &[(Arc<str>, u32)],
    ) -> Self {
        let slot_of = |version: usize| {
            let name = &port.versions[version].name;
            let mut groups = groups.iter();
            let group = groups.find(|(n, _)| n == name).map_or(0, |(_, id)| *id);
            slots::slot(u32::try_from(version).unwrap_or_default(), group)
        };
        let mut counts: Vec<u32> = shares.entries.iter().map(|share| share.slots).collect();
        let mut chosen = (0..counts.len()).filter(|&version| counts[version] > 0);
        let (mode, slots) = match (chosen.next(), chosen.next()) {
            (None, _) => (mode::SEQUENCE, vec![0]),
            (Some(only), None) => (mode::SEQUENCE, vec![slot_of(only)]),
            (Some(_), Some(_)) => {
                let order = || table::schedule(&counts).into_iter().map(slot_of).collect();
                match port.selection {
                    Selection::Sequence => (mode::SEQUENCE, order()),
                    Selection::Random => (mode::RANDOM, order()),
                    Selection::Sticky => {
                        // A version without a place is not there: nobody may keep a backend of it.
                        let slot_of = |version: usize| match counts[version] {
                            0 => 0,
                            _ => slot_of(version),
                        };
                        (mode::STICKY, sticky(port, class, slot_of))
                    }
                }
            }
        };
        if mode != mode::SEQUENCE {
            counts.fill(0);
        }
        let names = port
            .versions
            .iter()
            .map(|version| Arc::clone(&version.name));
        let class = class.and_then(|class| port.classes.get(class));
        let schedule = matches!(port.owner, Owner::Split(_)).then(|| Schedule {
            mode,
            class: class.map(|class| Arc::clone(&class.name)),
            versions: names.zip(counts).collect(),
        });
        Self {
            mode,
            slots,
            schedule,
        }
    }
}

/// The slots of a sticky table: of each version, then those in which the places are packed.
fn sticky(port: &Port, class: Option<usize>, slot_of: impl Fn(usize) -> u32) -> Vec<u32> {
    let mut found = vec![0; slots::STICKY_LENGTH as usize];
    let versions = (0..port.versions.len()).map(slot_of);
    for (slot, version) in found.iter_mut().zip(versions) {
        *slot = version;
    }
    let places = table::places(&port.versions, &port.weights(class), port.when_unavailable);
    for (place, version) in (0..).zip(places) {
        let cell = &mut found[slots::cell_of(place) as usize];
        *cell = slots::packed(*cell, place, version.into());
    }
    found
}
