//! Which open connections end because weights have shifted, and when.
//!
//! A version may keep as many connections as its new share of all that there were when the weights changed. Those above
//! are ended; who comes back is chosen by the new weights, and may well meet the version that it had. So a shift goes on
//! until no version is above its share, and never ends one that was opened after it began: each connection is moved once
//! at most, and a client that does not come back makes nobody else's connection surplus.
//!
//! Where clients keep their version it is known where each would be now: those whose client has moved go, and no others.
//!
//! Which of a version's connections go first is decided by a hash of each: not the oldest, which are often those of one client
//! or one pool, and the same ones at every look while they wait for their turn. Time is given in.

pub mod pools;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sluice_node_abi::slots::spread;

use crate::facts::{amount::Percent, split::Shift};

/// A shift is over when nothing was surplus for so long: clients need a while to come back.
pub const SETTLED: Duration = Duration::from_secs(30);
/// Between looks so much of a drain's pace adds up; what a longer pause would have allowed is lost.
const GRACE: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// An open connection of one class of callers to one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its own, and never another's.
    pub cookie: u64,
    /// The pool of versions that it is with.
    pub pool: usize,
    /// The pool that its client would be given now, where clients keep their version.
    pub home: Option<usize>,
    pub since: Duration,
}

/// What is there to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub now: Duration,
    pub policy: Shift,
    /// By pool: how new connections are shared out.
    pub shares: &'a [u64],
    pub connections: &'a [Connection],
}

/// A shift that is under way.
#[derive(Clone, Debug)]
pub struct Course {
    began: Duration,
    /// The most connections that there were since.
    most: usize,
    pace: Option<Pace>,
    /// Those whose turn has come, and when they end.
    due: BTreeMap<u64, Duration>,
    /// Since when nothing has been surplus.
    settled: Option<Duration>,
}

/// How fast a drain goes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How many were surplus at first.
    of: usize,
    /// When the next one may go.
    next: Duration,
}

impl Course {
    pub fn begin(now: Duration) -> Self {
        Self {
            began: now,
            most: 0,
            pace: None,
            due: BTreeMap::new(),
            settled: None,
        }
    }

    /// The cookies of the connections that end now.
    pub fn look(&mut self, view: &View<'_>) -> BTreeSet<u64> {
        self.most = self.most.max(view.connections.len());
        let surplus = self.surplus(view);
        if surplus.is_empty() {
            self.settled.get_or_insert(view.now);
        } else {
            self.settled = None;
        }
        match view.policy {
            Shift::Keep => BTreeSet::new(),
            Shift::Cut => surplus.into_iter().collect(),
            Shift::Drain { per_minute, jitter } => {
                self.give_turns(&surplus, view.now, per_minute, jitter);
                let due = self.due.iter().filter(|(_, at)| **at <= view.now);
                due.map(|(cookie, _)| *cookie).collect()
            }
        }
    }

    pub fn is_over(&self, now: Duration) -> bool {
        self.settled
            .is_some_and(|settled| now.saturating_sub(settled) >= SETTLED)
    }

    /// Those that have to go, in their order, pool by pool.
    fn surplus(&self, view: &View<'_>) -> Vec<u64> {
        let whole: u64 = view.shares.iter().sum();
        if whole == 0 {
            return Vec::new();
        }
        let mut surplus = Vec::new();
        let mut pools: BTreeMap<usize, Vec<&Connection>> = BTreeMap::new();
        for connection in view.connections {
            match connection.home {
                Some(home) if home != connection.pool && connection.since < self.began => {
                    surplus.push(connection.cookie);
                }
                Some(_) => {}
                None => pools.entry(connection.pool).or_default().push(connection),
            }
        }
        surplus.sort_unstable_by_key(turn);
        for (pool, connections) in pools {
            let share = view.shares.get(pool).copied().unwrap_or(0);
            let excess = connections
                .len()
                .saturating_sub(part(self.most, share, whole));
            let old = connections.into_iter();
            let mut old: Vec<_> = old
                .filter(|connection| connection.since < self.began)
                .map(|connection| connection.cookie)
                .collect();
            old.sort_unstable_by_key(turn);
            surplus.extend(old.into_iter().take(excess));
        }
        surplus
    }

    fn give_turns(
        &mut self,
        surplus: &[u64],
        now: Duration,
        per_minute: Percent,
        jitter: Duration,
    ) {
        let known: BTreeSet<u64> = surplus.iter().copied().collect();
        // One that ended by itself, or is surplus no more, has no turn.
        self.due.retain(|cookie, _| known.contains(cookie));
        if surplus.is_empty() {
            return;
        }
        let pace = self.pace.get_or_insert(Pace {
            of: surplus.len(),
            next: now,
        });
        for cookie in surplus {
            if self.due.contains_key(cookie) {
                continue;
            }
            if !pace.admits(now, per_minute) {
                break;
            }
            self.due.insert(*cookie, now + delay(*cookie, jitter));
        }
    }
}

impl Pace {
    fn admits(&mut self, now: Duration, per_minute: Percent) -> bool {
        self.next = self.next.max(now.saturating_sub(GRACE));
        if self.next > now {
            return false;
        }
        let share = self.of as f64 * f64::from(per_minute.tenths()) / 1000.0;
        self.next += MINUTE.div_f64(share);
        true
    }
}

/// The order in which connections go.
fn turn(cookie: &u64) -> (u64, u64) {
    (spread(*cookie), *cookie)
}

/// What a pool may keep, to the next whole connection.
fn part(of: usize, share: u64, whole: u64) -> usize {
    let part = (of as u128 * u128::from(share)).div_ceil(u128::from(whole));
    usize::try_from(part).unwrap_or(usize::MAX)
}

/// Somewhere up to the longest delay, by the connection.
fn delay(cookie: u64, longest: Duration) -> Duration {
    longest.mul_f64(spread(!cookie) as f64 / u64::MAX as f64)
}
