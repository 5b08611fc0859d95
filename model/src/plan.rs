//! Ordered map operations from one image to another.
//!
//! New content goes into free space, leaves first; then each changed port is switched by one word;
//! then frontends appear or go. After a barrier, which waits for programs that still read the old
//! content, that is deleted from the top down. So after every prefix each frontend answers as
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
};

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
    pub requires: Vec<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
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
    between(from, to, &everywhere(from, to))
}

/// The way from one image to another, as far as these places are concerned.
pub fn between(from: &Image, to: &Image, places: &BTreeSet<Place>) -> Plan {
    let mut builder = Builder {
        from,
        to,
        steps: Vec::new(),
        step_of: BTreeMap::new(),
        covered: BTreeMap::new(),
    };
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
            if !step.requires.iter().all(|required| done[*required]) {
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
    /// The step that writes or deletes at a place.
    step_of: BTreeMap<Place, usize>,
    /// Runs of slots that steps deal with, start to end.
    covered: BTreeMap<u32, u32>,
}

impl Builder<'_> {
    fn step(&mut self, op: Op, requires: Vec<usize>) -> usize {
        let at = self.steps.len();
        if let Some(place) = op.place() {
            self.step_of.insert(place, at);
        }
        self.steps.push(Step { op, requires });
        at
    }

    fn steps_at(&self, places: impl IntoIterator<Item = Place>) -> Vec<usize> {
        let steps = places
            .into_iter()
            .filter_map(|p| self.step_of.get(&p).copied());
        let mut steps: Vec<usize> = steps.collect();
        steps.sort_unstable();
        steps.dedup();
        steps
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

/// Every place that either image has something at.
fn everywhere(from: &Image, to: &Image) -> BTreeSet<Place> {
    let mut places = BTreeSet::from([Place::Generation]);
    for image in [from, to] {
        let Image {
            generation: _,
            frontends,
            ports,
            tables,
            groups,
            backends,
            slots,
            counters,
        } = image;
        places.extend(frontends.keys().copied().map(Place::Frontend));
        places.extend(ports.iter().map(|(id, _)| Place::Port(id)));
        places.extend(tables.iter().map(|(id, _)| Place::Table(id)));
        places.extend(groups.iter().map(|(id, _)| Place::Group(id)));
        places.extend(backends.iter().map(|(id, _)| Place::Backend(id)));
        places.extend(counters.iter().map(|(index, _)| Place::Counter(index)));
        places.insert(Place::Slots(0, slots.end()));
    }
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
