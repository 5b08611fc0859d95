//! Which version each place of a sticky table belongs to: weighted rendezvous hashing of (place, version).
//!
//! Each version bids for each place; what it bids depends on its name and weight alone, and the best bid gets the place.
//! So raising a weight moves places into that version and nowhere else, taking a version away moves its own places and
//! no others, and every node comes to the same.
//!
//! The surprising thing: a version's luck is not drawn anew for each place. Its draws are the numbers of all places in
//! an order of its own, so each version is exactly as lucky as every other, and shares err half as much.

use std::sync::LazyLock;

use sluice_node_abi::slots::{STICKY_SLOTS, spread};

use crate::hash::fnv;

/// A version: its name and its weight. With weight 0 it does not bid.
pub type Bidder<'a> = (&'a str, u64);

/// The bidder that each place belongs to, by its index. Empty if there are none.
pub fn fill(bidders: &[Bidder<'_>]) -> Vec<u8> {
    let mut by_name: Vec<u8> = (0..).take(bidders.len()).collect();
    by_name.retain(|&i| bidders[usize::from(i)].1 > 0);
    by_name.sort_unstable_by_key(|&i| bidders[usize::from(i)].0);
    let shuffles: Vec<(u8, u64, Shuffle)> = by_name
        .into_iter()
        .map(|i| {
            let (name, weight) = bidders[usize::from(i)];
            (i, weight, Shuffle::of(name))
        })
        .collect();
    let places = (0..STICKY_SLOTS).map_while(|place| {
        let costs = shuffles.iter().map(|(i, weight, shuffle)| {
            let cost = COSTS[shuffle.at(place) as usize];
            (*i, *weight, cost)
        });
        // The smaller cost by weight; the first by name of two that are equal.
        let best = costs.reduce(|best, other| {
            let (_, weight, cost) = best;
            let (_, other_weight, other_cost) = other;
            if other_cost * weight < cost * other_weight {
                other
            } else {
                best
            }
        });
        best.map(|(i, ..)| i)
    });
    places.collect()
}

/// What each draw costs: the negative logarithm of the part of all draws that it beats, as a fixed-point number. With costs
/// of this kind, a bid of `cost / weight` is the best in proportion to the weight.
static COSTS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let whole = log2(2 * u64::from(STICKY_SLOTS));
    let draws = 0..u64::from(STICKY_SLOTS);
    draws.map(|draw| whole - log2(2 * draw + 1)).collect()
});

const FRACTION_BITS: u32 = 32;

/// The logarithm to base 2, rounded down: in integers, since floating point may differ between machines.
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    // In 1..2, with 63 bits behind the point.
    let mut rest = u128::from(number) << (63 - whole);
    let mut log = u64::from(whole);
    for _ in 0..FRACTION_BITS {
        rest = (rest * rest) >> 63;
        let bit = rest >> 64;
        rest >>= bit;
        log = log << 1 | u64::from(bit != 0);
    }
    log
}

/// The places in an order of a version's own: a Feistel network over the next power of two, walked until it hits a place.
struct Shuffle {
    rounds: [[u8; HALF]; ROUNDS],
}

const HALF_BITS: u32 = 7;
const HALF: usize = 1 << HALF_BITS;
const ROUNDS: usize = 4;

impl Shuffle {
    fn of(name: &str) -> Self {
        let key = spread(fnv(name.bytes()));
        let mut rounds = [[0; HALF]; ROUNDS];
        for (round, outputs) in (0_u64..).zip(&mut rounds) {
            for (input, output) in (0_u64..).zip(outputs) {
                let number = spread(key.wrapping_add(round << HALF_BITS | input));
                *output = (number % HALF as u64) as u8;
            }
        }
        Self { rounds }
    }

    fn at(&self, place: u32) -> u32 {
        let mut at = self.step(place);
        while at >= STICKY_SLOTS {
            at = self.step(at);
        }
        at
    }

    fn step(&self, at: u32) -> u32 {
        let (mut left, mut right) = (at >> HALF_BITS, at & (HALF as u32 - 1));
        for round in &self.rounds {
            (left, right) = (right, left ^ u32::from(round[right as usize]));
        }
        left << HALF_BITS | right
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    #[test]
    fn every_draw_comes_once() {
        for name in ["stable", "canary", ""] {
            let shuffle = Shuffle::of(name);
            let mut drawn: Vec<u32> = (0..STICKY_SLOTS).map(|place| shuffle.at(place)).collect();
            drawn.sort_unstable();
            assert!(drawn.into_iter().eq(0..STICKY_SLOTS));
        }
    }

    #[test]
    fn costs_are_logarithms() {
        for (draw, cost) in COSTS.iter().enumerate() {
            let part = (draw as f64 + 0.5) / f64::from(STICKY_SLOTS);
            let cost = *cost as f64 / 2_f64.powi(FRACTION_BITS.cast_signed());
            assert!((cost + part.log2()).abs() < 1e-8, "{draw}: {cost}");
        }
        assert!(COSTS.is_sorted_by_key(|cost| Reverse(*cost)));
    }

    #[test]
    fn an_earlier_release_put_everybody_where_this_one_does() {
        let places = fill(&[("stable", 90), ("canary", 10)]);
        let digest = fnv(places.iter().copied());
        assert_eq!(digest, 6_772_928_107_699_992_523, "everybody would move");
    }
}
