//! Where the kernel counts what splits have chosen.

use std::sync::Arc;

use super::Lowered;
use crate::{
    desired::PortId,
    key::{ServiceKey, SplitKey},
};

/// The counter of one version of a port, for callers of one class or for those of none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measured {
    pub split: SplitKey,
    pub service: ServiceKey,
    pub port: PortId,
    pub class: Option<Arc<str>>,
    pub version: Arc<str>,
}

impl Lowered {
    /// What is counted, and the index of its counter.
    pub fn measured(&self) -> impl Iterator<Item = (u32, Measured)> {
        self.split_ports().flat_map(move |(service, port)| {
            let classes = std::iter::once(None).chain(port.classes.iter().map(Some));
            let tables = (port.root..).zip(classes).flat_map(move |(table, class)| {
                let counters = self.image.tables.get(table).own_counters().skip(1);
                let versions = counters.zip(&port.versions);
                versions.map(move |(counter, version)| (counter, class, version))
            });
            tables.filter_map(move |(counter, class, version)| {
                let measured = Measured {
                    split: port.split()?.clone(),
                    service: service.clone(),
                    port: port.port,
                    class: class.cloned(),
                    version: Arc::clone(version),
                };
                Some((counter, measured))
            })
        })
    }
}
