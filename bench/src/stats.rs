//! From rounds to claims: medians of paired rounds, each with an interval.
//!
//! What is compared was measured in the same round, moments apart, so whatever slows the whole machine down for a while
//! is in both and cancels. The interval is a bootstrap's: rounds are drawn anew many times, with a fixed seed, so the
//! same rounds always give the same numbers.

use std::ops::RangeInclusive;

use serde::Serialize;

const RESAMPLES: usize = 4_000;
const SEED: u64 = 0x5105_1ce5;
/// What of the resampled medians is within the interval.
const CENTRAL: RangeInclusive<f64> = 0.025..=0.975;

/// A median and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// How many times as much as the second the first is, by rounds; none without rounds.
pub(crate) fn ratio(rounds: &[(f64, f64)]) -> Option<Estimate> {
    let ratios: Vec<_> = rounds.iter().map(|(a, b)| a / b).collect();
    estimate(&ratios)
}

/// How much more than the second the first is, by rounds.
pub(crate) fn difference(rounds: &[(f64, f64)]) -> Option<Estimate> {
    let differences: Vec<_> = rounds.iter().map(|(a, b)| a - b).collect();
    estimate(&differences)
}

/// How much more the first kind of rounds has than the second, whose rounds are others.
pub(crate) fn growth(later: &[f64], earlier: &[f64]) -> Option<Estimate> {
    let value = median(later)? - median(earlier)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let medians = (0..RESAMPLES).filter_map(|_| {
        Some(median(&resample(later, &mut random))? - median(&resample(earlier, &mut random))?)
    });
    Some(within(value, &medians.collect::<Vec<_>>()))
}

/// The median of the values and where it would lie had other rounds been run.
pub(crate) fn estimate(values: &[f64]) -> Option<Estimate> {
    let value = median(values)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let medians = (0..RESAMPLES).filter_map(|_| median(&resample(values, &mut random)));
    Some(within(value, &medians.collect::<Vec<_>>()))
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The value below which this share (from 0 to 1) of the values lies, between two of them where it has to.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    // Far below 2^52, where f64 is exact.
    let at = share * last as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    let part = at - at.floor();
    Some(sorted[below] * (1.0 - part) + sorted[above.min(last)] * part)
}

fn resample(values: &[f64], random: &mut fastrand::Rng) -> Vec<f64> {
    let one = |_| values[random.usize(..values.len())];
    (0..values.len()).map(one).collect()
}

fn within(value: f64, resampled: &[f64]) -> Estimate {
    let at = |share| quantile(resampled, share).unwrap_or(value);
    Estimate {
        value,
        low: at(*CENTRAL.start()),
        high: at(*CENTRAL.end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values() {
        let values: Vec<_> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.0), Some(0.0));
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(median(&[1.0, 4.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn an_arm_against_itself_is_one() {
        let rounds: Vec<_> = (1..30).map(|n| (f64::from(n), f64::from(n))).collect();
        let one = Estimate {
            value: 1.0,
            low: 1.0,
            high: 1.0,
        };
        assert_eq!(ratio(&rounds), Some(one));
    }

    #[test]
    fn what_slows_a_whole_round_cancels() {
        let slowed = |n: u32| if n.is_multiple_of(3) { 50.0 } else { 1.0 };
        let rounds: Vec<_> = (0..30)
            .map(|n| (20.0 * slowed(n), 16.0 * slowed(n)))
            .collect();
        let found = ratio(&rounds).unwrap();
        assert_eq!((found.value, found.low, found.high), (1.25, 1.25, 1.25));
    }

    #[test]
    fn a_few_wild_rounds_move_neither_median_nor_interval_far() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut rounds: Vec<_> = (0..30).map(|_| (10.0 + random.f64(), 10.0)).collect();
        rounds[3].0 = 1_000.0;
        rounds[17].0 = 0.1;
        let found = ratio(&rounds).unwrap();
        assert!(found.low > 1.0 && found.high < 1.1, "{found:?}");
    }

    #[test]
    fn about_95_of_100_intervals_hold_the_true_value() {
        let mut random = fastrand::Rng::with_seed(2);
        let runs = 400;
        let held = (0..runs).filter(|_| {
            // The sum of several uniform values is close to normal; its median is 2.
            let values: Vec<f64> = (0..25)
                .map(|_| (0..4).map(|_| random.f64()).sum())
                .collect();
            let found = estimate(&values).unwrap();
            found.low <= 2.0 && 2.0 <= found.high
        });
        let held = held.count();
        assert!(
            (runs * 91 / 100..=runs * 99 / 100).contains(&held),
            "{held}"
        );
    }

    #[test]
    fn growth_is_the_difference_of_medians() {
        let earlier = [5.0, 5.0, 5.0];
        let later = [5.5, 5.5, 5.5, 5.5];
        let found = growth(&later, &earlier).unwrap();
        assert_eq!((found.value, found.low, found.high), (0.5, 0.5, 0.5));
    }
}
