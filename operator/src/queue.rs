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

/// What has not come back so long after its rest needs none the next time.
const FORGET: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Queue<K> {
    due: BTreeSet<(Instant, K)>,
    at: BTreeMap<K, Instant>,
    pauses: BTreeMap<K, Pause>,
    rests: BTreeMap<K, Rest>,
}

/// Until when something is not done, whoever asks for it.
#[derive(Debug)]
struct Rest {
    until: Instant,
    pause: Pause,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            at: BTreeMap::new(),
            pauses: BTreeMap::new(),
            rests: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// Asks for it now, also if it was to be done later; a rest it has first.
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

    /// What was done may have to be undone at once, and so on for ever: nothing more is done about it for a while,
    /// which grows until it is settled.
    pub fn rest(&mut self, key: K, now: Instant) {
        self.rests.retain(|_, rest| now < rest.until + FORGET);
        let rest = self.rests.entry(key.clone()).or_insert_with(|| Rest {
            until: now,
            pause: Pause::default(),
        });
        rest.until = now + rest.pause.longer();
        if let Some(at) = self.at.get(&key) {
            self.put(key, *at);
        }
    }

    /// Nothing is to be done about it.
    pub fn settle(&mut self, key: &K) {
        self.forgive(key);
        self.rests.remove(key);
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
        let rest = self.rests.get(&key);
        let at = rest.map_or(at, |rest| at.max(rest.until));
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
    fn what_is_undone_again_and_again_rests_longer_each_time_until_it_is_settled() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let mut rests = Vec::new();
        for round in 0..6 {
            // What is heard may come before the rest begins, or after.
            if round % 2 == 0 {
                queue.push("a", now);
                queue.rest("a", now);
            } else {
                queue.rest("a", now);
                queue.push("a", now);
            }
            assert_eq!(queue.pop(now), None);
            let next = queue.next().expect("it comes back");
            rests.push(next - now);
            now = next;
            assert_eq!(queue.pop(now), Some("a"));
            // To make it anew went well: that is the half of it.
            queue.forgive(&"a");
        }
        assert!(rests[5] > 4 * rests[0], "{rests:?}");
        queue.rest("b", now);
        queue.push("a", now);
        assert_eq!(queue.pop(now), Some("a"), "another one's rest");
        queue.settle(&"b");
        queue.push("b", now);
        assert_eq!(queue.pop(now), Some("b"));
        queue.rest("a", now + 2 * FORGET);
        queue.push("a", now + 2 * FORGET);
        let rest = queue.next().expect("it comes back") - (now + 2 * FORGET);
        assert!(rest <= 2 * rests[0], "long ago is forgotten");
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
