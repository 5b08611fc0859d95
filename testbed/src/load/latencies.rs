//! A histogram of durations: buckets that grow with the value, each within one part in 128 of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Values below 2^7 have a bucket each, above each power of two is cut in 2^7 buckets.
const BITS: u32 = 7;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    buckets: BTreeMap<u32, u64>,
    count: u64,
}

impl Latencies {
    pub fn add(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(nanoseconds)).or_default() += 1;
        self.count += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many took at least this long.
    pub fn from(&self, duration: Duration) -> u64 {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets
            .range(bucket(nanoseconds)..)
            .map(|(_, count)| count)
            .sum()
    }

    /// The least duration that at least this share (from 0 to 1) of all does not exceed; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        // Counts are far below 2^52, where f64 is exact.
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(least(*bucket));
            }
        }
        Duration::ZERO
    }
}

fn bucket(value: u64) -> u32 {
    let magnitude = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    // The shifted value has at most BITS + 1 bits.
    (magnitude << BITS) + (value >> magnitude) as u32
}

/// The least value of a bucket.
fn least(bucket: u32) -> u64 {
    let magnitude = (bucket >> BITS).saturating_sub(1);
    u64::from(bucket - (magnitude << BITS)) << magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_one_part_in_128_of_its_values() {
        for value in (0..100_000).chain([u64::MAX, 1 << 40, (1 << 40) - 1, 123_456_789_012]) {
            let least = least(bucket(value));
            assert!(
                least <= value && value - least <= value / 128,
                "{value}: {least}"
            );
        }
    }

    #[test]
    fn buckets_are_in_the_order_of_their_values() {
        assert!((0..100_000).map(bucket).is_sorted());
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        (1..=100).for_each(|value| latencies.add(Duration::from_nanos(value)));
        assert_eq!(latencies.quantile(0.5), Duration::from_nanos(50));
        assert_eq!(latencies.quantile(0.99), Duration::from_nanos(99));
        assert_eq!(latencies.quantile(1.0), Duration::from_nanos(100));
        assert_eq!(latencies.from(Duration::from_nanos(91)), 10);
    }
}
