//! Weights to slots: how many slots each version gets, and in which order they come.
//!
//! The order is Tijdeman's schedule for the chairman assignment problem: after any number of
//! connections every version is less than one connection away from its exact share. Smooth weighted
//! round robin misses that from five versions on.

use sluice_crds::split::{Selection, WhenUnavailable};

use crate::{
    desired::{Port, Version},
    facts::split::Weight,
    sticky,
};

/// The longest schedule. Weights whose reduced sum is larger are rounded to this many slots.
pub const MAX_LENGTH: u32 = 4096;

/// The slots of each version, or its places in a sticky table, in the order of the versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    pub entries: Vec<Share>,
    /// The sum of all entries' slots: the length of the schedule. 0 when nothing can be chosen.
    pub length: u32,
    /// The weights were too fine to be met exactly.
    pub rounded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub slots: u32,
    /// The slots refuse instead of choosing a backend.
    pub refuses: bool,
}

/// Shares the connections of a port's callers of one class out, or of those of none. An unavailable version
/// gives its share to the others, or refuses it.
pub fn of_port(port: &Port, class: Option<usize>) -> Shares {
    let weights = port.weights(class);
    match port.selection {
        Selection::Sequence | Selection::Random => {
            shares(&port.versions, &weights, port.when_unavailable)
        }
        Selection::Sticky => {
            let mut counts = vec![0_u32; port.versions.len()];
            for version in places(&port.versions, &weights, port.when_unavailable) {
                counts[usize::from(version)] += 1;
            }
            Shares::of(&port.versions, &counts, false)
        }
    }
}

/// The version of each place of a sticky table, by its index. Empty when nothing can be chosen.
pub fn places(
    versions: &[Version],
    weights: &[Weight],
    when_unavailable: WhenUnavailable,
) -> Vec<u8> {
    let weights = taking_part(versions, weights, when_unavailable);
    let names = versions.iter().map(|version| &*version.name);
    let bidders: Vec<sticky::Bidder<'_>> = names.zip(weights).collect();
    sticky::fill(&bidders)
}

fn shares(versions: &[Version], weights: &[Weight], when_unavailable: WhenUnavailable) -> Shares {
    let (slots, rounded) = reduce(&taking_part(versions, weights, when_unavailable));
    Shares::of(versions, &slots, rounded)
}

impl Shares {
    fn of(versions: &[Version], slots: &[u32], rounded: bool) -> Self {
        let entries = versions.iter().zip(slots);
        let entries = entries.map(|(version, slots)| Share {
            slots: *slots,
            refuses: !version.is_available(),
        });
        Self {
            length: slots.iter().sum(),
            entries: entries.collect(),
            rounded,
        }
    }
}

/// The weights of the versions that connections are shared out to; 0 for the others.
fn taking_part(
    versions: &[Version],
    weights: &[Weight],
    when_unavailable: WhenUnavailable,
) -> Vec<u64> {
    let weighted = || versions.iter().zip(weights);
    let any_usable = weighted().any(|(version, weight)| version.is_available() && weight.get() > 0);
    let takes_part =
        |version: &Version| version.is_available() || when_unavailable == WhenUnavailable::Reject;
    let weights = weighted().map(|(version, weight)| {
        if any_usable && takes_part(version) {
            u64::from(weight.get())
        } else {
            0
        }
    });
    weights.collect()
}

/// Weights in lowest terms; by the largest remainder when their sum stays above [`MAX_LENGTH`].
fn reduce(weights: &[u64]) -> (Vec<u32>, bool) {
    let weights = lowest_terms(weights);
    let sum: u64 = weights.iter().sum();
    if sum <= u64::from(MAX_LENGTH) {
        return (
            weights.iter().map(|&weight| narrow(weight)).collect(),
            false,
        );
    }
    let rounded = lowest_terms(&round(&weights, sum));
    (rounded.iter().map(|&slots| narrow(slots)).collect(), true)
}

/// Every positive weight keeps at least one slot.
pub(crate) fn round(weights: &[u64], sum: u64) -> Vec<u64> {
    let length = u64::from(MAX_LENGTH);
    let mut slots: Vec<u64> = weights
        .iter()
        .map(|weight| (weight * length / sum).max(u64::from(*weight > 0)))
        .collect();
    let remainder = |i: usize| weights[i] * length % sum;
    let mut given: u64 = slots.iter().sum();
    let mut by_remainder: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0).collect();
    by_remainder.sort_by_key(|&i| (std::cmp::Reverse(remainder(i)), i));
    for &i in by_remainder.iter().cycle() {
        if given >= length {
            break;
        }
        // One that was lifted to its first slot has had its share.
        if weights[i] * length >= sum {
            slots[i] += 1;
            given += 1;
        }
    }
    while given > length {
        let largest = (0..slots.len()).max_by_key(|&i| (slots[i], std::cmp::Reverse(i)));
        let Some(largest) = largest else { break };
        slots[largest] -= 1;
        given -= 1;
    }
    slots
}

pub(crate) fn lowest_terms(weights: &[u64]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    weights.iter().map(|weight| weight / divisor).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn narrow(slots: u64) -> u32 {
    u32::try_from(slots).unwrap_or(MAX_LENGTH)
}

/// The order in which entries take their turns, as indexes into `slots`.
///
/// At each turn those are eligible that would otherwise fall behind, and of them the one whose
/// deadline is nearest goes. With *n* entries and their exact due after *t* turns being
/// `slots * t / length`, no count is ever further than `1 - 1 / (2n - 2)` from its due.
pub fn schedule(slots: &[u32]) -> Vec<usize> {
    let entries: Vec<usize> = (0..slots.len()).filter(|&i| slots[i] > 0).collect();
    let length: i64 = slots.iter().map(|&count| i64::from(count)).sum();
    let scale = 2 * i64::try_from(entries.len()).unwrap_or(i64::MAX / 4).max(2) - 2;
    let mut taken = vec![0_i64; slots.len()];
    let mut order = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    for turn in 1..=length {
        // How far entry i is behind its due, in units of 1 / length.
        let behind = |i: usize| i64::from(slots[i]) * turn - length * taken[i];
        let deadline = |i: usize| (scale - 1) * length - scale * behind(i);
        let eligible = |i: &&usize| scale * behind(**i) >= length;
        let next = entries.iter().filter(eligible).min_by(|&&i, &&j| {
            let (left, right) = (deadline(i), deadline(j));
            (left * i64::from(slots[j])).cmp(&(right * i64::from(slots[i])))
        });
        let Some(&next) = next.or_else(|| entries.iter().max_by_key(|&&i| behind(i))) else {
            break;
        };
        taken[next] += 1;
        order.push(next);
    }
    order
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_crds::split::WhenUnavailable::{self, Redistribute, Reject};

    use super::{MAX_LENGTH, Shares, schedule, shares};
    use crate::{
        desired::{Backend, Version},
        facts::split::Weight,
        key::{Port, ServiceKey},
    };

    fn of(weights: &[(u32, bool)], when: WhenUnavailable) -> Shares {
        let versions: Vec<Version> = weights
            .iter()
            .map(|&(weight, available)| Version {
                name: Arc::from("v"),
                service: ServiceKey::parse("a", "b").expect("a name"),
                weight: Weight::parse(weight).expect("a weight"),
                backends: if available {
                    Arc::from([Backend {
                        ip: [10, 0, 0, 1].into(),
                        port: Port::new(80).expect("a port"),
                    }])
                } else {
                    Arc::default()
                },
                draining: false,
                awaited: false,
                capacity: None,
            })
            .collect();
        let weights: Vec<Weight> = versions.iter().map(|version| version.weight).collect();
        shares(&versions, &weights, when)
    }

    fn slots(shares: &Shares) -> Vec<u32> {
        shares.entries.iter().map(|entry| entry.slots).collect()
    }

    #[test]
    fn weights_are_met_in_lowest_terms() {
        assert_eq!(slots(&of(&[(90, true), (10, true)], Redistribute)), [9, 1]);
        assert_eq!(slots(&of(&[(0, true), (7, true)], Redistribute)), [0, 1]);
    }

    #[test]
    fn the_share_of_nothing_goes_to_the_others_in_proportion() {
        let weights = [(60, true), (30, true), (10, false)];
        assert_eq!(slots(&of(&weights, Redistribute)), [2, 1, 0]);
    }

    #[test]
    fn a_rejected_share_keeps_its_slots() {
        let shares = of(&[(20, true), (80, false)], Reject);
        assert_eq!(slots(&shares), [1, 4]);
        assert!(shares.entries[1].refuses);
    }

    #[test]
    fn without_any_backend_there_is_no_schedule() {
        assert_eq!(of(&[(20, false), (80, false)], Reject).length, 0);
        assert_eq!(of(&[(20, false), (0, true)], Redistribute).length, 0);
    }

    #[test]
    fn fine_weights_are_rounded_and_nobody_loses_the_last_slot() {
        let shares = of(&[(999_999, true), (1, true)], Redistribute);
        assert_eq!(slots(&shares), [4095, 1]);
        assert!(shares.rounded);
        let many: Vec<(u32, bool)> = (0..16)
            .map(|i| (if i == 0 { 1_000_000 } else { 1 }, true))
            .collect();
        let shares = of(&many, Redistribute);
        assert_eq!(shares.length, MAX_LENGTH);
        assert!(shares.entries.iter().all(|entry| entry.slots > 0));
        assert_eq!(
            slots(&of(&[(500_000, true), (499_999, true)], Redistribute)),
            [1, 1]
        );
    }

    #[test]
    fn the_largest_set_ends_each_turn_with_everybody_served() {
        let mut counts = vec![1_u32; 15];
        counts.push(MAX_LENGTH - 15);
        let order = schedule(&counts);
        for (i, &count) in counts.iter().enumerate() {
            let times = order.iter().filter(|&&entry| entry == i).count();
            assert_eq!(times, count as usize);
        }
    }
}
