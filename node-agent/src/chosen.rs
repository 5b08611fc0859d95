//! How often each version of a split was chosen on this node, as the kernel counts it.
//!
//! The kernel's counters belong to tables, which come and go with weights; the numbers here belong to versions and only
//! grow. A counter that goes is read once more after nobody can raise it any longer, so not one connect is lost. What
//! an earlier agent counted is gone with it, but for the counters that are still in use.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sluice_model::{
    key::{Family, Port, Protocol, ServiceKey, SplitKey},
    lower::Measured,
};

/// What is counted where, and what counters counted that have gone.
#[derive(Debug, Default)]
pub struct Chosen {
    counters: BTreeMap<u32, Measured>,
    past: BTreeMap<Measured, u64>,
}

/// The connects, and datagrams that began to be sent, for which a version was chosen, refused ones too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Choices {
    pub split: SplitKey,
    pub service: ServiceKey,
    pub port: Port,
    pub protocol: Protocol,
    pub family: Family,
    /// Of callers of this class; absent for those of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    pub version: String,
    pub chosen: u64,
}

impl Chosen {
    /// What is counted from now on. Counters that are not in use any more are kept until they go.
    pub fn note(&mut self, counters: impl Iterator<Item = (u32, Measured)>) {
        let counters: BTreeMap<u32, Measured> = counters.collect();
        let live: BTreeSet<&Measured> = counters.values().collect();
        self.past.retain(|measured, _| live.contains(measured));
        self.counters.extend(counters);
    }

    pub fn knows(&self, counter: u32) -> bool {
        self.counters.contains_key(&counter)
    }

    /// A counter has gone, which had come so far.
    pub fn retire(&mut self, counter: u32, count: u64) {
        if let Some(measured) = self.counters.remove(&counter) {
            *self.past.entry(measured).or_default() += count;
        }
    }

    /// All numbers, given the counters as they are now.
    pub fn choices(&self, now: impl Fn(u32) -> u64) -> Vec<Choices> {
        let mut all = self.past.clone();
        for (counter, measured) in &self.counters {
            *all.entry(measured.clone()).or_default() += now(*counter);
        }
        let choices = all.into_iter().map(|(measured, chosen)| {
            let Measured {
                split,
                service,
                port,
                class,
                version,
            } = measured;
            Choices {
                split,
                service,
                port: port.number,
                protocol: port.protocol,
                family: port.family,
                class: class.map(|class| class.to_string()),
                version: version.to_string(),
                chosen,
            }
        });
        choices.collect()
    }
}
