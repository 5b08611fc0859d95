//! The weights that act, given those that are asked for.
//!
//! A version that nobody has looked for yet takes no part. Where a split is capped by readiness, no version gets a larger
//! share than its ready pods could carry: the pods of the *holder*, the version with the largest weight, are taken to be
//! able to carry everything, so a version with half as many can carry half. What is cut off goes to the holder. Only
//! counts of the whole cluster go in, so every node comes to the same.
//!
//! The surprising thing: a version without any ready pod is not capped. What becomes of its share is for
//! `whenUnavailable` to say, and that may be a refusal.

use std::cmp::Ordering;

use crate::{
    desired::Version,
    facts::split::Weight,
    table::{MAX_LENGTH, lowest_terms, round},
};

/// The weights by which connections are shared out, in the order of the versions. They may be of another scale.
pub(crate) fn acting(versions: &[Version], asked: &[Weight]) -> Vec<Weight> {
    let asked = looked_for(versions, asked);
    let capacities: Option<Vec<u32>> = versions.iter().map(|version| version.capacity).collect();
    let capped = capacities.and_then(|ready| cap(&asked, &ready));
    capped.map_or(asked, |capped| scaled_down(&capped))
}

/// What became of a weight that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// In units of the weights that are asked for, rounded. Nothing that acts is rounded to 0.
    pub(crate) effective: u32,
    /// How that compares with the weight itself.
    pub(crate) by: Ordering,
}

/// What became of each weight, in the order of the versions.
pub(crate) fn changes(versions: &[Version], asked: &[Weight]) -> Vec<Change> {
    let acting = acting(versions, asked);
    let asked = looked_for(versions, asked);
    let sum = |weights: &[Weight]| weights.iter().map(|weight| wide(*weight)).sum::<u64>();
    let (all_asked, all_acting) = (sum(&asked), sum(&acting));
    let changes = asked.iter().zip(&acting).map(|(asked, acting)| {
        let part = wide(*acting) * all_asked;
        let by = part.cmp(&(wide(*asked) * all_acting));
        let rounded = (part + all_acting / 2).checked_div(all_acting);
        let rounded = rounded.and_then(|rounded| u32::try_from(rounded).ok());
        let effective = match by {
            Ordering::Equal => asked.get(),
            Ordering::Less | Ordering::Greater => rounded.unwrap_or_default(),
        };
        Change {
            effective: effective.max(u32::from(*acting > Weight::ZERO)),
            by,
        }
    });
    changes.collect()
}

fn wide(weight: Weight) -> u64 {
    weight.get().into()
}

/// The weights that are asked for, but nothing for a version that nobody has looked for yet.
fn looked_for(versions: &[Version], asked: &[Weight]) -> Vec<Weight> {
    let asked = versions.iter().zip(asked);
    let asked = asked.map(|(version, weight)| {
        if version.awaited {
            Weight::ZERO
        } else {
            *weight
        }
    });
    asked.collect()
}

/// The weights that so many ready pods can carry, in parts of a weight: each is divided by the holder's pods. `None` if
/// they can carry those that are asked for.
fn cap(asked: &[Weight], ready: &[u32]) -> Option<Vec<u64>> {
    let asked: Vec<u64> = asked.iter().map(|weight| wide(*weight)).collect();
    let holder = (0..asked.len()).rev().max_by_key(|&i| asked[i])?;
    let pods = u64::from(ready[holder]);
    let sum: u64 = asked.iter().sum();
    let parts = asked.iter().zip(ready).map(|(asked, ready)| {
        let part = asked * pods;
        match *ready {
            0 => part,
            ready => part.min(sum * u64::from(ready)),
        }
    });
    let mut parts: Vec<u64> = parts.collect();
    let others = parts.iter().enumerate().filter(|(i, _)| *i != holder);
    let others: u64 = others.map(|(_, part)| part).sum();
    let rest = (sum * pods).saturating_sub(others);
    if pods == 0 || rest == parts[holder] {
        return None;
    }
    parts[holder] = rest;
    Some(parts)
}

/// The same proportions as weights: exact where they fit, else as exact as a schedule is.
fn scaled_down(parts: &[u64]) -> Vec<Weight> {
    let parts = lowest_terms(parts);
    let sum: u64 = parts.iter().sum();
    let parts = if sum > u64::from(MAX_LENGTH) {
        round(&parts, sum)
    } else {
        parts
    };
    let weight = |part: u64| u32::try_from(part).ok().and_then(Weight::parse);
    parts
        .into_iter()
        .map(|part| weight(part).unwrap_or(Weight::ZERO))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(weights: &[u32]) -> Vec<Weight> {
        let weights = weights.iter();
        weights
            .map(|weight| Weight::parse(*weight).expect("a weight"))
            .collect()
    }

    fn capped(asked: &[u32], ready: &[u32]) -> Vec<u64> {
        let asked = weights(asked);
        cap(&asked, ready).unwrap_or_else(|| {
            let (holder, _) = holder(&asked, ready);
            let pods = u64::from(ready[holder]).max(1);
            asked
                .iter()
                .map(|weight| u64::from(weight.get()) * pods)
                .collect()
        })
    }

    fn holder(asked: &[Weight], ready: &[u32]) -> (usize, u32) {
        let most = asked.iter().max().expect("a version");
        let first = asked.iter().position(|weight| weight == most);
        let first = first.expect("one has the most");
        (first, ready[first])
    }

    #[test]
    fn a_version_gets_what_its_pods_can_carry() {
        let scaled = |asked: &[u32], ready: &[u32]| {
            let capped = cap(&weights(asked), ready).map(|parts| scaled_down(&parts));
            capped.map(|weights| {
                weights
                    .iter()
                    .map(|weight| weight.get())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(scaled(&[50, 50], &[4, 1]), Some(vec![3, 1]));
        assert_eq!(
            scaled(&[1, 1], &[3, 1]),
            Some(vec![2, 1]),
            "finer than the weights"
        );
        assert_eq!(scaled(&[90, 10], &[3, 1]), None);
        assert_eq!(scaled(&[60, 30, 10], &[4, 1, 1]), Some(vec![13, 5, 2]));
        assert_eq!(
            scaled(&[50, 50], &[4, 0]),
            None,
            "it has none: that is not for a cap to say"
        );
        assert_eq!(scaled(&[50, 50], &[0, 1]), None, "nothing to compare with");
        assert_eq!(scaled(&[0, 100], &[9, 1]), None, "the holder has it all");
    }

    proptest! {
        #[test]
        fn nobody_but_the_holder_gets_more_and_nothing_is_lost(
            versions in prop::collection::vec((0..=1_000_000_u32, 0..2_000_u32), 1..=16),
        ) {
            let (asked, ready): (Vec<_>, Vec<_>) = versions.into_iter().unzip();
            let (holder, pods) = holder(&weights(&asked), &ready);
            let parts = capped(&asked, &ready);
            let scale = u64::from(pods.max(1));
            let sum: u64 = asked.iter().copied().map(u64::from).sum();
            prop_assert_eq!(parts.iter().sum::<u64>(), sum * scale);
            for (i, part) in parts.iter().enumerate() {
                let whole = u64::from(asked[i]) * scale;
                if i == holder {
                    prop_assert!(*part >= whole);
                } else {
                    prop_assert!(*part <= whole);
                    let carried = pods == 0 || ready[i] == 0 || *part <= sum * u64::from(ready[i]);
                    prop_assert!(carried, "{i} has {part}");
                }
            }
        }

        #[test]
        fn more_ready_pods_never_get_less(
            asked in prop::collection::vec(0..1_000_u32, 2..=16),
            ready in prop::collection::vec(1..50_u32, 16),
            which: prop::sample::Index,
        ) {
            let which = which.index(asked.len());
            let (holder, _) = holder(&weights(&asked), &ready);
            prop_assume!(which != holder);
            let before = capped(&asked, &ready)[which];
            let mut more = ready;
            more[which] += 1;
            prop_assert!(capped(&asked, &more)[which] >= before);
        }

        #[test]
        fn as_many_pods_as_the_holder_has_are_enough(
            asked in prop::collection::vec(0..1_000_u32, 1..=16),
            pods in 0..50_u32,
        ) {
            let ready = vec![pods; asked.len()];
            prop_assert_eq!(cap(&weights(&asked), &ready), None);
        }
    }
}
