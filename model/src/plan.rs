//! Ordered map operations from one image to another.
//!
//! New content goes into free space, leaves first; then each changed port is switched by one word;
//! then frontends appear or go. After a barrier, which waits for programs that still read the old
//! content, that is deleted from the top down. An address of a node is the first thing to go and the
//! last to come, so that it never shows a change of the Services behind it besides its own. So after every prefix each frontend answers as
//! before or as after, never dangling.
//!
//! Each step names the steps that it requires. When one fails, what requires it is skipped and
//! everything else goes on; skipped and failed places stay different and come back in the next
//! plan.

mod deletes;
mod puts;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
    ops::Range,
};

use sluice_node_abi::values::caller;

use crate::image::{Entry, Image, Place};

/// One map operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put(Entry),
    /// Wait until no program that started before can still be running.
    Barrier,
    Delete(Place),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    /// Indexes of earlier steps without which this one must not be done.
    pub requires: Box<[u32]>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

/// The order of a plan. Within a rank, steps are ordered by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    DeleteNode,
    PutCaller,
    PutGeneration,
    PutCounter,
    PutBackend,
    PutSlots,
    PutGroup,
    PutTable,
    PutClass,
    PutPort,
    PutFrontend,
    DeleteFrontend,
    PutNode,
    ReadmitCaller,
    DeleteCaller,
    Barrier,
    DeletePort,
    DeleteClass,
    DeleteTable,
    DeleteGroup,
    DeleteSlots,
    DeleteBackend,
    DeleteCounter,
    DeleteGeneration,
}

/// What became of a plan.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outcome<E> {
    /// Steps that were done.
    pub done: usize,
    /// Steps that were not tried, because one that they require was not done.
    pub skipped: usize,
    /// Steps that failed, by index.
    pub failed: Vec<(usize, E)>,
    /// Where the maps still differ from what is wanted.
    pub unsettled: BTreeSet<Place>,
}

/// The whole way from one image to another.
pub fn diff(from: &Image, to: &Image) -> Plan {
    build(from, to, &differences(from, to))
}

/// The way from one image to another, as far as these places are concerned.
pub fn between(from: &Image, to: &Image, places: &BTreeSet<Place>) -> Plan {
    let places: Vec<Place> = places.iter().copied().collect();
    build(from, to, &places)
}

fn build(from: &Image, to: &Image, places: &[Place]) -> Plan {
    let mut builder = Builder {
        from,
        to,
        // Runs of slots come with what they belong to. At a start this is much of all memory.
        steps: Vec::with_capacity(places.len() + places.len() / 4),
        covered: BTreeMap::new(),
    };
    builder.delete_nodes(places);
    builder.put_callers(places, true);
    builder.puts(places);
    builder.deletes(places);
    Plan {
        steps: builder.steps,
    }
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Does the steps with `write`. `observed` moves with each success and with nothing else.
    pub fn run<E>(
        &self,
        observed: &mut Image,
        mut write: impl FnMut(&Op) -> Result<(), E>,
    ) -> Outcome<E> {
        let mut done = vec![false; self.steps.len()];
        let mut outcome = Outcome {
            done: 0,
            skipped: 0,
            failed: Vec::new(),
            unsettled: BTreeSet::new(),
        };
        for (i, step) in self.steps.iter().enumerate() {
            if !step
                .requires
                .iter()
                .all(|required| done[*required as usize])
            {
                outcome.skipped += 1;
                outcome.unsettled.extend(step.op.place());
                continue;
            }
            match write(&step.op) {
                Ok(()) => {
                    done[i] = true;
                    outcome.done += 1;
                    step.op.apply(observed);
                }
                Err(error) => {
                    outcome.failed.push((i, error));
                    outcome.unsettled.extend(step.op.place());
                }
            }
        }
        outcome
    }
}

impl Op {
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Put(entry) => Some(entry.place()),
            Self::Barrier => None,
            Self::Delete(place) => Some(*place),
        }
    }

    pub fn rank(&self) -> Rank {
        match self {
            Self::Put(Entry::Generation(_)) => Rank::PutGeneration,
            Self::Put(Entry::Counter(_)) => Rank::PutCounter,
            Self::Put(Entry::Backend(..)) => Rank::PutBackend,
            Self::Put(Entry::Slots(..)) => Rank::PutSlots,
            Self::Put(Entry::Group(..)) => Rank::PutGroup,
            Self::Put(Entry::Table(..)) => Rank::PutTable,
            Self::Put(Entry::Port(..)) => Rank::PutPort,
            Self::Put(Entry::Frontend(..)) => Rank::PutFrontend,
            Self::Put(Entry::Node(..)) => Rank::PutNode,
            Self::Put(Entry::Caller(_, row)) if row.flags & caller::OPTED_OUT != 0 => {
                Rank::PutCaller
            }
            Self::Put(Entry::Caller(..)) => Rank::ReadmitCaller,
            Self::Put(Entry::Class(..)) => Rank::PutClass,
            Self::Barrier => Rank::Barrier,
            Self::Delete(Place::Frontend(_)) => Rank::DeleteFrontend,
            Self::Delete(Place::Node(_)) => Rank::DeleteNode,
            Self::Delete(Place::Caller(_)) => Rank::DeleteCaller,
            Self::Delete(Place::Class(_)) => Rank::DeleteClass,
            Self::Delete(Place::Port(_)) => Rank::DeletePort,
            Self::Delete(Place::Table(_)) => Rank::DeleteTable,
            Self::Delete(Place::Group(_)) => Rank::DeleteGroup,
            Self::Delete(Place::Slots(..)) => Rank::DeleteSlots,
            Self::Delete(Place::Backend(_)) => Rank::DeleteBackend,
            Self::Delete(Place::Counter(_)) => Rank::DeleteCounter,
            Self::Delete(Place::Generation) => Rank::DeleteGeneration,
        }
    }

    pub fn apply(&self, image: &mut Image) {
        match self {
            Self::Put(entry) => image.put(entry),
            Self::Barrier => {}
            Self::Delete(place) => image.delete(*place),
        }
    }
}

impl<E> Outcome<E> {
    pub fn is_complete(&self) -> bool {
        self.unsettled.is_empty()
    }
}

struct Builder<'a> {
    from: &'a Image,
    to: &'a Image,
    steps: Vec<Step>,
    /// Runs of slots that steps deal with, start to end.
    covered: BTreeMap<u32, u32>,
}

impl Builder<'_> {
    fn step(&mut self, op: Op, requires: Vec<u32>) {
        let requires = requires.into();
        self.steps.push(Step { op, requires });
    }

    /// The indexes of the steps of a rank. Ranks come in order, so this is a binary search.
    fn of_rank(&self, rank: Rank) -> Range<usize> {
        let start = self.steps.partition_point(|step| step.op.rank() < rank);
        let end = self.steps.partition_point(|step| step.op.rank() <= rank);
        start..end
    }

    /// The steps of the rank about callers of the port whose first table this is.
    fn class_steps(&self, rank: Rank, root: u32) -> Vec<u32> {
        let range = self.of_rank(rank);
        let root_of = |at: &usize| match self.steps[*at].op.place() {
            Some(Place::Class(key)) => key.root,
            _ => 0,
        };
        let start = self.steps[range.clone()].partition_point(
            |step| matches!(step.op.place(), Some(Place::Class(key)) if key.root < root),
        );
        let steps = range.skip(start).take_while(|at| root_of(at) == root);
        steps.map(index).collect()
    }

    /// Those of these places that a step of the rank puts something at.
    fn steps_at(&self, rank: Rank, places: impl IntoIterator<Item = Place>) -> Vec<u32> {
        let range = self.of_rank(rank);
        let steps = &self.steps[range.clone()];
        let found = places.into_iter().filter_map(|place| {
            let at = steps.binary_search_by(|step| step.op.place().cmp(&Some(place)));
            Some(index(range.start + at.ok()?))
        });
        found.collect()
    }

    fn cover(&mut self, offset: u32, length: u32) {
        let end = self.covered.entry(offset).or_default();
        *end = (*end).max(offset.saturating_add(length));
    }

    fn is_covered(&self, cell: u32) -> bool {
        let before = self.covered.range(..=cell).next_back();
        before.is_some_and(|(_, end)| cell < *end)
    }

    /// The parts of a run that nothing covers yet and whose cells need this.
    fn stretches(&self, offset: u32, length: u32, needs: impl Fn(u32) -> bool) -> Vec<(u32, u32)> {
        let mut stretches: Vec<(u32, u32)> = Vec::new();
        let end = offset
            .saturating_add(length)
            .min(self.from.slots.end().max(self.to.slots.end()));
        for cell in offset..end {
            if self.is_covered(cell) || !needs(cell) {
                continue;
            }
            match stretches.last_mut() {
                Some((start, length)) if *start + *length == cell => *length += 1,
                _ => stretches.push((cell, 1)),
            }
        }
        stretches
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Every place at which two images differ, ordered.
fn differences(from: &Image, to: &Image) -> Vec<Place> {
    let mut places = Vec::with_capacity(from.size() + to.size());
    places.push(Place::Generation);
    for image in [from, to] {
        let Image {
            generation: _,
            frontends,
            nodes,
            callers,
            classes,
            ports,
            tables,
            groups,
            backends,
            slots,
            counters,
        } = image;
        for cgroup in callers.keys() {
            if from.callers.get(cgroup) != to.callers.get(cgroup) {
                places.push(Place::Caller(*cgroup));
            }
        }
        for key in classes.keys() {
            if from.classes.get(key) != to.classes.get(key) {
                places.push(Place::Class(*key));
            }
        }
        for address in nodes.keys() {
            if from.nodes.get(address) != to.nodes.get(address) {
                places.push(Place::Node(*address));
            }
        }
        for key in frontends.keys() {
            if from.frontends.get(key) != to.frontends.get(key) {
                places.push(Place::Frontend(*key));
            }
        }
        let differ = |id: &u32| from.ports.get(*id) != to.ports.get(*id);
        places.extend(ports.ids().filter(differ).map(Place::Port));
        let differ = |id: &u32| from.tables.get(*id) != to.tables.get(*id);
        places.extend(tables.ids().filter(differ).map(Place::Table));
        let differ = |id: &u32| from.groups.get(*id) != to.groups.get(*id);
        places.extend(groups.ids().filter(differ).map(Place::Group));
        let differ = |id: &u32| from.backends.get(*id) != to.backends.get(*id);
        places.extend(backends.ids().filter(differ).map(Place::Backend));
        let differ = |index: &u32| from.counters.get(*index) != to.counters.get(*index);
        places.extend(counters.ids().filter(differ).map(Place::Counter));
        places.push(Place::Slots(0, slots.end()));
    }
    places.sort_unstable();
    places.dedup();
    places
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            write!(f, "{i}: ")?;
            match &step.op {
                Op::Put(entry) => write!(f, "put {entry:?}")?,
                Op::Barrier => f.write_str("barrier")?,
                Op::Delete(place) => write!(f, "delete {place:?}")?,
            }
            writeln!(f, " requires {:?}", step.requires)?;
        }
        Ok(())
    }
}
