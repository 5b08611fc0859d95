//! The shares of outcomes, and whether others are the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use sluice_crds::split::Selection;

use crate::{desired::Backend, facts::service::Balancing};

/// A finer share than this cannot be kept.
const GRAIN: u64 = 4096;

/// Sticky shares are met within one in so many connects: two in a hundred, since the errors of versions with the
/// same backends add up.
const STICKY_PRECISION: u64 = 50;

/// A sticky share of one in so many clients may find no client at all.
const NEGLIGIBLE: u64 = 1_000;

/// The classes of outcomes and their shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odds {
    pub selection: Selection,
    /// For how many seconds a client keeps its backend; 0: not at all.
    pub affinity: u32,
    /// How a backend of a class is picked. Says nothing where no class has two.
    pub balancing: Balancing,
    /// By the backends that can be reached; the empty set is a refusal.
    pub classes: BTreeMap<BTreeSet<Backend>, Class>,
    /// The sum of all parts.
    pub whole: u64,
    /// The greatest common divisor of the versions' weights.
    pub unit: u64,
}

/// One class of outcomes: versions with the same backends cannot be told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    pub part: u64,
    pub versions: u64,
}

impl Odds {
    pub(super) fn add(&mut self, backends: BTreeSet<Backend>, part: u64) {
        let class = self.classes.entry(backends).or_default();
        class.part += part;
        class.versions += 1;
        self.whole += part;
        self.unit = gcd(self.unit, part);
    }

    pub(super) fn check(&self, found: &Self) -> Result<(), String> {
        let lost = |(backends, class): (&BTreeSet<Backend>, &Class)| {
            !found.classes.contains_key(backends) && class.part >= self.negligible()
        };
        let known = |backends| self.classes.contains_key(backends);
        if self.classes.iter().any(lost) || !found.classes.keys().all(known) {
            return Err(format!("wanted {self}, found {found}"));
        }
        // With one class there is nothing to select.
        if found.classes.len() > 1 && self.selection != found.selection {
            return Err(format!("wanted {self}, found {found}"));
        }
        let picks = found.classes.keys().any(|backends| backends.len() > 1);
        if self.affinity != found.affinity || picks && self.balancing != found.balancing {
            return Err(format!("wanted {self}, found {found}"));
        }
        let versions: u64 = self.classes.values().map(|class| class.versions).sum();
        let allowed = match self.selection {
            Selection::Sticky => self.whole * GRAIN / STICKY_PRECISION,
            _ if self.is_exact() => 0,
            _ => versions * self.whole,
        };
        for (backends, wanted) in &self.classes {
            let found_part = found.classes.get(backends).map_or(0, |class| class.part);
            let found = found_part * self.whole * GRAIN / found.whole;
            let wanted = wanted.part * GRAIN;
            let apart = found.abs_diff(wanted);
            if apart > allowed {
                return Err(format!(
                    "{backends:?}: wanted {wanted} of {}, found {found}",
                    self.whole * GRAIN
                ));
            }
        }
        Ok(())
    }

    /// The part from which on a class must not be without any connect.
    fn negligible(&self) -> u64 {
        match self.selection {
            Selection::Sticky => self.whole.div_ceil(NEGLIGIBLE),
            Selection::Sequence | Selection::Random => 0,
        }
    }

    /// Whether these connects, the first ones since the schedule started, are as they should be.
    /// They are one client's. `None` is a refusal. A random selection only has to stay among the known
    /// outcomes.
    pub fn check_connects(
        &self,
        connects: impl IntoIterator<Item = Option<Backend>>,
    ) -> Result<(), String> {
        let mut counts: BTreeMap<&BTreeSet<Backend>, u64> = BTreeMap::new();
        let mut total = 0;
        let mut kept = None;
        for connect in connects {
            total += 1;
            if self.affinity > 0
                && let Some(backend) = connect
                && *kept.get_or_insert(backend) != backend
            {
                return Err(format!("{connect:?} after {kept:?} by {self}"));
            }
            let mut classes = self.classes.keys();
            let class = classes.find(|backends| match connect {
                Some(backend) => backends.contains(&backend),
                None => backends.is_empty(),
            });
            let Some(class) = class else {
                return Err(format!("{connect:?} is none of {self}"));
            };
            *counts.entry(class).or_default() += 1;
        }
        let distinct = self.classes.keys().map(BTreeSet::len).sum::<usize>();
        let all: BTreeSet<&Backend> = self.classes.keys().flatten().collect();
        // A backend of two classes says nothing about which of them was chosen.
        if self.selection == Selection::Random || self.affinity > 0 || distinct > all.len() {
            return Ok(());
        }
        if self.selection == Selection::Sticky {
            return match counts.len() {
                0 | 1 => Ok(()),
                _ => Err(format!("one client is led to several versions by {self}")),
            };
        }
        let versions: u64 = self.classes.values().map(|class| class.versions).sum();
        let rounding = if self.is_exact() {
            0
        } else {
            total * versions * self.whole / GRAIN
        };
        for (backends, class) in &self.classes {
            let count = counts.get(backends).copied().unwrap_or_default();
            let apart = (count * self.whole).abs_diff(class.part * total);
            if apart > class.versions * self.whole + rounding {
                return Err(format!(
                    "{backends:?}: {count} of {total} connects by {self}"
                ));
            }
        }
        Ok(())
    }

    /// Whether the shares can be met by a schedule that is not too long.
    fn is_exact(&self) -> bool {
        self.whole / self.unit.max(1) <= GRAIN
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Odds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.selection)?;
        if self.balancing != Balancing::default() {
            write!(f, " and {}", self.balancing.name())?;
        }
        if self.affinity > 0 {
            write!(f, ", the same for {} s", self.affinity)?;
        }
        for (backends, class) in &self.classes {
            write!(f, ", {}/{} to ", class.part, self.whole)?;
            if backends.is_empty() {
                f.write_str("nobody")?;
            }
            for (i, backend) in backends.iter().enumerate() {
                let comma = if i > 0 { " or " } else { "" };
                write!(f, "{comma}{backend}")?;
            }
        }
        Ok(())
    }
}
