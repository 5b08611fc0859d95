//! What was counted between two looks.

use std::{collections::BTreeMap, time::Duration};

use crate::answer::choices::Choices;

/// How often a node chose what of one split, over its ports and families: by the class of callers and the version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted(BTreeMap<(Option<String>, String), u64>);

/// What each node says, or why it does not.
pub type Seen = BTreeMap<String, Result<Counted, String>>;

/// Choices in a window, over all nodes that counted in both looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    pub window: Duration,
    pub chosen: Counted,
    /// The nodes that it is from.
    pub nodes: usize,
}

impl Counted {
    pub fn of(split: &str, choices: &[Choices]) -> Self {
        let mut counted = Self::default();
        for choice in choices.iter().filter(|choice| choice.split == split) {
            let key = (choice.class.clone(), choice.version.clone());
            *counted.0.entry(key).or_default() += choice.chosen;
        }
        counted
    }

    /// What came since. `None` if somebody began to count anew.
    fn since(&self, before: &Self) -> Option<Self> {
        let grown = self.0.iter().map(|(key, now)| {
            let then = before.0.get(key).copied().unwrap_or_default();
            Some((key.clone(), now.checked_sub(then)?))
        });
        grown.collect::<Option<_>>().map(Self)
    }

    fn add(&mut self, other: Self) {
        for (key, count) in other.0 {
            *self.0.entry(key).or_default() += count;
        }
    }

    /// How often a version was chosen for callers of a class.
    pub fn chosen(&self, class: Option<&str>, version: &str) -> u64 {
        let key = (class.map(str::to_owned), version.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// How often any was.
    pub fn all(&self, class: Option<&str>) -> u64 {
        let of_class = self
            .0
            .iter()
            .filter(|((own, _), _)| own.as_deref() == class);
        of_class.map(|(_, count)| count).sum()
    }

    /// The classes of callers, by name.
    pub fn classes(&self) -> Vec<&str> {
        let mut classes: Vec<_> = self
            .0
            .keys()
            .filter_map(|(class, _)| class.as_deref())
            .collect();
        classes.dedup();
        classes
    }
}

impl Measured {
    pub fn between(before: &Seen, now: &Seen, window: Duration) -> Self {
        let mut measured = Self {
            window,
            ..Self::default()
        };
        for (node, counted) in now {
            let (Ok(counted), Some(Ok(before))) = (counted, before.get(node)) else {
                continue;
            };
            if let Some(since) = counted.since(before) {
                measured.chosen.add(since);
                measured.nodes += 1;
            }
        }
        measured
    }
}
