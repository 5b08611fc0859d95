//! Free ranges of one array: best fit, joined again when they are given back.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Start to length.
    free: BTreeMap<u32, u32>,
    by_length: BTreeSet<(u32, u32)>,
}

impl Ranges {
    /// All of `start..end` is free.
    pub fn new(start: u32, end: u32) -> Self {
        let mut ranges = Self {
            free: BTreeMap::new(),
            by_length: BTreeSet::new(),
        };
        ranges.insert(start, end.saturating_sub(start));
        ranges
    }

    /// The start of a range that is now the caller's: out of the smallest that is large enough, and
    /// of those the first.
    pub fn take(&mut self, length: u32) -> Option<u32> {
        let &(found, start) = self.by_length.range((length.max(1), 0)..).next()?;
        self.remove(start, found);
        self.insert(start + length, found - length);
        Some(start)
    }

    /// Takes exactly this range. False if any part of it is not free.
    pub fn claim(&mut self, start: u32, length: u32) -> bool {
        let Some(end) = start.checked_add(length) else {
            return false;
        };
        let Some((&at, &found)) = self.free.range(..=start).next_back() else {
            return false;
        };
        if length == 0 || end > at + found {
            return false;
        }
        self.remove(at, found);
        self.insert(at, start - at);
        self.insert(end, at + found - end);
        true
    }

    /// Gives a taken range back.
    pub fn release(&mut self, start: u32, length: u32) {
        if length == 0 {
            return;
        }
        let (mut from, mut to) = (start, start + length);
        if let Some((&before, &found)) = self.free.range(..start).next_back()
            && before + found == start
        {
            self.remove(before, found);
            from = before;
        }
        if let Some(&found) = self.free.get(&to) {
            self.remove(to, found);
            to += found;
        }
        self.insert(from, to - from);
    }

    fn insert(&mut self, start: u32, length: u32) {
        if length > 0 {
            self.free.insert(start, length);
            self.by_length.insert((length, start));
        }
    }

    fn remove(&mut self, start: u32, length: u32) {
        self.free.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;

    #[test]
    fn what_is_given_back_joins_its_neighbours() {
        let mut ranges = Ranges::new(1, 100);
        let taken: Vec<u32> = (0..9).filter_map(|_| ranges.take(11)).collect();
        assert_eq!(taken, [1, 12, 23, 34, 45, 56, 67, 78, 89]);
        assert_eq!(ranges.take(1), None);
        for start in [12, 34, 23, 1, 89, 78, 45, 67, 56] {
            ranges.release(start, 11);
        }
        assert_eq!(ranges, Ranges::new(1, 100));
    }

    #[test]
    fn a_claim_is_refused_when_any_part_is_taken() {
        let mut ranges = Ranges::new(1, 10);
        assert!(ranges.claim(3, 4));
        assert!(!ranges.claim(6, 2));
        assert!(!ranges.claim(2, 2));
        assert!(!ranges.claim(0, 1));
        assert!(!ranges.claim(9, 2));
        assert!(!ranges.claim(u32::MAX, 2));
        assert!(!ranges.claim(8, 0));
        ranges.release(3, 4);
        assert_eq!(ranges, Ranges::new(1, 10));
    }

    #[test]
    fn the_smallest_hole_that_fits_is_used() {
        let mut ranges = Ranges::new(0, 30);
        assert!(ranges.claim(5, 5));
        assert!(ranges.claim(12, 5));
        assert_eq!(ranges.take(2), Some(10));
        assert_eq!(ranges.take(5), Some(0));
        assert_eq!(ranges.take(14), None);
    }
}
