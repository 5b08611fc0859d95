//! What would be status: of each split, of the inputs, of this node.

use serde::Serialize;
use sluice_model::{
    condition::SplitStatus,
    finding::Finding,
    ids::Capacities,
    key::{ServiceKey, SplitKey},
};
use sluice_node_abi::maps;

use super::{Agent, self_test::Passed};
use crate::{
    features::Features,
    inputs::{Problem, View},
    maps::{Maps, kernel::Kernel},
    metrics::Sample,
    program::Refusal,
};

/// What was found and chosen at the start.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    pub version: &'static str,
    /// Which start of the machine this is.
    pub boot: String,
    pub features: Features,
    pub refusal: Refusal,
    pub cgroup_root: std::path::PathBuf,
    pub pins: std::path::PathBuf,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub node: Node,
    pub ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_test: Option<Passed>,
    pub input: Input,
    pub splits: Vec<Split>,
    pub findings: Vec<Finding>,
    pub services: usize,
    /// Services whose maps are not as wanted.
    pub lagging: Vec<String>,
    pub maps: Vec<MapUse>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Input {
    pub view: View,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Split {
    pub name: SplitKey,
    /// Whose connections it splits; absent when the split does not parse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
    pub status: SplitStatus,
}

#[derive(Clone, Debug, Serialize)]
pub struct MapUse {
    pub map: &'static str,
    pub used: u64,
    pub capacity: u32,
}

impl<M: Maps> Agent<M> {
    pub fn status(&self, node: Node) -> Status {
        let splits = self.state.splits(&self.index).into_iter();
        let readiness = self.is_ready();
        Status {
            node,
            ready: readiness.is_ok(),
            not_ready_because: readiness.err(),
            self_test: self.self_test.clone().and_then(Result::ok),
            input: Input {
                view: self.view,
                problems: self.problems.clone(),
            },
            splits: splits
                .filter_map(|name| {
                    let status = self.state.split_status(&self.index, &name)?;
                    let fact = self.index.splits().get(&name);
                    Some(Split {
                        service: fact.map(|fact| fact.service.clone()),
                        name,
                        status,
                    })
                })
                .collect(),
            findings: self.findings(),
            services: self.state.desired().services.len(),
            lagging: self
                .state
                .lagging()
                .iter()
                .map(ToString::to_string)
                .collect(),
            maps: self.map_use(),
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self
            .index
            .findings()
            .cloned()
            .chain(self.state.findings())
            .collect();
        findings.sort_unstable();
        findings
    }

    pub(crate) fn map_use(&self) -> Vec<MapUse> {
        let Capacities {
            frontends,
            nodes,
            callers,
            classes,
            ports,
            tables,
            slots,
            groups,
            backends,
            counters,
        } = self.maps.capacities();
        let image = &self.observed;
        let used = [
            (maps::FRONTENDS, image.frontends.len(), frontends),
            (maps::NODES, image.nodes.len(), nodes),
            (maps::CALLERS, image.callers.len(), callers),
            (maps::CLASSES, image.classes.len(), classes),
            (maps::PORTS, image.ports.iter().count(), ports),
            (maps::TABLES, image.tables.iter().count(), tables),
            (maps::SLOTS, image.slots.iter().count(), slots),
            (maps::GROUPS, image.groups.iter().count(), groups),
            (maps::BACKENDS, image.backends.iter().count(), backends),
            (maps::COUNTERS, image.counters.iter().count(), counters),
        ];
        used.map(|(map, used, capacity)| MapUse {
            map,
            used: used as u64,
            capacity,
        })
        .into()
    }
}

impl Agent<Kernel> {
    /// Numbers for a scrape, the kernel's counts among them.
    pub fn sample(&self) -> Sample {
        let unread = |error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot read what the programs have counted"
            );
        };
        let tallies = self.maps.tallies().map_err(unread);
        Sample {
            counts: self.counts.clone(),
            verdicts: self.maps.verdicts().map_err(unread).unwrap_or_default(),
            tallies: tallies.unwrap_or_default(),
            choices: self.choices(),
            ready: self.is_ready().is_ok(),
            problems: self.problems.len() as u64,
            findings: self.findings().len() as u64,
            services: self.state.desired().services.len() as u64,
            unsettled: self.state.unsettled().len() as u64,
        }
    }
}
