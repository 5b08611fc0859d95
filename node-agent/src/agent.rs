//! The one owner of index, ids and observed image.
//!
//! News go into the index; a pass compiles what they touched and writes the difference. What was
//! observed moves with each write that succeeded, so a failed one stays in the difference and the
//! next pass tries it again. Everything here is synchronous; [`drive()`] gives it time and company.

mod drive;
pub mod explain;
pub mod self_test;
pub mod status;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use sluice_model::{
    image::{Image, Place},
    index::Index,
    key::{Kind, NodeKey},
    pass::State,
    plan::{self, Op},
};

pub use drive::{Attach, Ended, Handle, drive, handle};
use self_test::Verdict;
use sluice_node_abi::keys::FrontendKey;

use crate::{
    callers::Tree,
    chosen::{Choices, Chosen},
    inputs::{News, Problem, View},
    maps::{Maps, MapsError},
    metrics::Counts,
    sockets::Look,
};

pub struct Agent<M> {
    index: Index,
    state: State,
    observed: Image,
    maps: M,
    view: View,
    /// Frontends that the maps held at the start and nothing has asked for yet. While the view is
    /// partial they may belong to what could not be read.
    unclaimed: Option<BTreeSet<FrontendKey>>,
    problems: Vec<Problem>,
    counts: Counts,
    chosen: Chosen,
    self_test: Option<Verdict>,
}

/// What one pass did.
#[derive(Debug)]
pub struct Done {
    pub compiled: usize,
    pub changed: usize,
    pub written: usize,
    pub skipped: usize,
    pub failed: Vec<MapsError>,
    /// Until everything new was in force. What it replaced goes later, when no program can be using it.
    pub in_force: Duration,
    pub took: Duration,
}

impl<M: Maps> Agent<M> {
    /// Takes the maps as they are: what an earlier agent wrote is in force until the inputs have
    /// told everything.
    pub fn start(maps: M) -> Result<Self, MapsError> {
        let observed = maps.read()?;
        Ok(Self {
            index: Index::awaiting(Kind::ALL),
            state: State::restore(maps.capacities(), &observed),
            observed,
            maps,
            view: View::Partial,
            unclaimed: None,
            problems: Vec::new(),
            counts: Counts::default(),
            chosen: Chosen::default(),
            self_test: None,
        })
    }

    /// The agent of this node.
    #[must_use]
    pub fn on_node(mut self, key: NodeKey) -> Self {
        self.index = self.index.on_node(key);
        self
    }

    /// Where this node's pods are in the tree of cgroups.
    pub fn find_callers(&mut self, tree: &Tree) {
        self.index.set_cgroups(tree.pods.clone());
    }

    pub fn hear(&mut self, news: News) {
        let News {
            changes,
            view,
            problems,
        } = news;
        for change in changes {
            if self_test::is_reserved(&change) {
                continue;
            }
            self.index.apply(change);
        }
        self.view = view;
        self.problems = problems;
    }

    /// One turn of the wheel; `None` until every input has listed.
    pub fn pass(&mut self) -> Option<Done> {
        let began = Instant::now();
        let pass = self.state.pass(&mut self.index, &self.observed)?;
        let Image {
            frontends: wanted,
            tables,
            ..
        } = self.state.image();
        let unclaimed = self.unclaimed.get_or_insert_with(|| {
            let held = self.observed.frontends.keys();
            held.filter(|key| !wanted.contains_key(key))
                .copied()
                .collect()
        });
        if self.view == View::Whole {
            unclaimed.clear();
        }
        unclaimed.retain(|key| !wanted.contains_key(key));
        let mut in_force = None;
        let outcome = pass.plan.run(&mut self.observed, |op| match op {
            Op::Delete(Place::Frontend(key)) if unclaimed.contains(key) => Err(MapsError::HeldBack),
            Op::Delete(Place::Node(_) | Place::Caller(_)) if self.view == View::Partial => {
                Err(MapsError::HeldBack)
            }
            // Of a table that is not wanted any more nobody asks for the callers.
            Op::Delete(Place::Class(key))
                if self.view == View::Partial && tables.contains(key.root) =>
            {
                Err(MapsError::HeldBack)
            }
            Op::Barrier => {
                in_force = Some(began.elapsed());
                self.maps.write(op)
            }
            Op::Delete(Place::Counter(counter)) if self.chosen.knows(*counter) => {
                // After the barrier: nobody raises it any more.
                let count = self.maps.counter(*counter)?;
                self.maps.write(op)?;
                self.chosen.retire(*counter, count);
                Ok(())
            }
            _ => self.maps.write(op),
        });
        if pass.changed > 0 {
            self.chosen.note(self.state.measured());
        }
        let took = began.elapsed();
        self.state.finish(&outcome);
        let failed = outcome.failed.into_iter().map(|(_, error)| error);
        let done = Done {
            compiled: pass.compiled,
            changed: pass.changed,
            written: outcome.done,
            skipped: outcome.skipped,
            failed: failed
                .filter(|error| !matches!(error, MapsError::HeldBack))
                .collect(),
            in_force: in_force.unwrap_or(took),
            took,
        };
        self.counts.passed(&done);
        Some(done)
    }

    /// Reads the maps anew; what somebody else changed is put right by the next pass. Says how
    /// many places that were.
    pub fn reread(&mut self) -> Result<usize, MapsError> {
        let found = self.maps.read()?;
        let drift = plan::diff(&found, &self.observed).steps.len();
        if drift > 0 {
            self.observed = found;
            self.state.look_at_everything();
            self.counts.drifted(drift);
        }
        Ok(drift)
    }

    /// Whether connects of this node are steered: the inputs have told everything once, and a connect
    /// of the agent's own was translated.
    pub fn is_ready(&self) -> Result<(), String> {
        let awaited = self.index.awaited();
        if !awaited.is_empty() {
            let awaited: Vec<_> = awaited.iter().map(ToString::to_string).collect();
            let awaited = format!("not listed yet: {}", awaited.join(", "));
            // What stands in the way of one stands in the way of all.
            return Err(match self.problems.first() {
                Some(problem) => format!("{awaited} ({problem})"),
                None => awaited,
            });
        }
        match &self.self_test {
            None => Err("the self-test has not run yet".into()),
            Some(Err(failure)) => Err(format!("the self-test failed: {failure}")),
            Some(Ok(_)) => Ok(()),
        }
    }

    /// Whether a pass has something new to look at.
    pub fn has_news(&self) -> bool {
        self.index.awaited().is_empty() && self.index.is_dirty()
    }

    /// Whether there is something to say of this node: a pass was made, and a connect of its own
    /// tried.
    pub fn has_outcome(&self) -> bool {
        self.self_test.is_some()
    }

    /// Whether every object could be read: then what nobody wants is gone.
    pub fn view_is_whole(&self) -> bool {
        self.view == View::Whole
    }

    /// Counts what was done about stale sockets.
    pub fn looked(&mut self, look: Look) {
        self.counts.looked(look);
    }

    pub fn maps(&self) -> &M {
        &self.maps
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How often each version of a split was chosen.
    pub fn choices(&self) -> Vec<Choices> {
        // What cannot be read counts for nothing until it can be again.
        let now = |counter| self.maps.counter(counter).unwrap_or_default();
        self.chosen.choices(now)
    }

    pub(crate) fn note_report(&mut self, written: bool) {
        self.counts.reported(written);
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Done {
    /// Whether there was anything to do.
    pub fn is_idle(&self) -> bool {
        self.compiled == 0 && self.written == 0 && self.failed.is_empty()
    }
}
