//! What is to be done, each thing once, and when: things that fail come back later each time. The
//! time is passed in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sluice_runtime::pause::{Pause, jittered};
use tokio::time::Instant;

/// Where only a person can help, a try is made this often.
const SELDOM: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Queue<K> {
    due: BTreeSet<(Instant, K)>,
    at: BTreeMap<K, Instant>,
    pauses: BTreeMap<K, Pause>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            at: BTreeMap::new(),
            pauses: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// Asks for it now, also if it was to be done later.
    pub fn push(&mut self, key: K, now: Instant) {
        self.put(key, now);
    }

    /// It failed: again after a pause that grows.
    pub fn push_soon(&mut self, key: K, now: Instant) {
        let pause = self.pauses.entry(key.clone()).or_default().longer();
        self.put_unless_sooner(key, now + pause);
    }

    /// It was refused: again after a long time.
    pub fn push_seldom(&mut self, key: K, now: Instant) {
        self.put_unless_sooner(key, now + jittered(SELDOM));
    }

    /// It went well: the next failure is the first.
    pub fn forgive(&mut self, key: &K) {
        self.pauses.remove(key);
    }

    /// The first that is due.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// When something is due.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub fn len(&self) -> usize {
        self.due.len()
    }

    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn put_unless_sooner(&mut self, key: K, at: Instant) {
        if self.at.get(&key).is_none_or(|sooner| at < *sooner) {
            self.put(key, at);
        }
    }

    fn put(&mut self, key: K, at: Instant) {
        if let Some(before) = self.at.insert(key.clone(), at) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_twice_is_done_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push("a", now);
        queue.push("b", now);
        queue.push("a", now);
        assert_eq!(
            [queue.pop(now), queue.pop(now), queue.pop(now)],
            [Some("a"), Some("b"), None]
        );
        assert!(queue.is_empty() && queue.next().is_none());
    }

    #[test]
    fn a_failure_comes_back_later_each_time_until_it_is_forgiven() {
        let start = Instant::now();
        let mut now = start;
        let mut queue = Queue::default();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            queue.push_soon("a", now);
            assert_eq!(queue.pop(now), None);
            let next = queue.next().expect("it comes back");
            pauses.push(next - now);
            now = next;
            assert_eq!(queue.pop(now), Some("a"));
        }
        assert!(pauses[5] > 4 * pauses[0], "{pauses:?}");
        queue.forgive(&"a");
        queue.push_soon("a", now);
        assert!(queue.next().expect("it comes back") - now <= 2 * pauses[0]);
    }

    #[test]
    fn news_do_not_wait_for_a_pause() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push_seldom("a", now);
        assert_eq!(queue.pop(now), None);
        queue.push("a", now);
        queue.push_soon("a", now);
        assert_eq!((queue.pop(now), queue.len()), (Some("a"), 0));
    }
}
