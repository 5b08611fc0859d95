//! A relation from one key to a few others. Nearly every entry has one member, so the members are
//! a sorted vector.

use std::{collections::BTreeMap, ops::RangeInclusive};

#[derive(Clone, Debug)]
pub(super) struct References<K, V> {
    members: BTreeMap<K, Vec<V>>,
}

impl<K, V> Default for References<K, V> {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
        }
    }
}

impl<K: Ord, V: Ord> References<K, V> {
    pub(super) fn of(&self, key: &K) -> &[V] {
        self.members.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.members.keys()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.members.values().flatten()
    }

    /// The members of every key in this range.
    pub(super) fn between(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = &V> {
        self.members.range(keys).flat_map(|(_, members)| members)
    }

    pub(super) fn add(&mut self, key: K, value: V) {
        let members = self
            .members
            .entry(key)
            .or_insert_with(|| Vec::with_capacity(1));
        if let Err(at) = members.binary_search(&value) {
            members.insert(at, value);
        }
    }

    pub(super) fn remove(&mut self, key: &K, value: &V) {
        let Some(members) = self.members.get_mut(key) else {
            return;
        };
        if let Ok(at) = members.binary_search(value) {
            members.remove(at);
        }
        if members.is_empty() {
            self.members.remove(key);
        }
    }
}
