//! The maps as pinned.

use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use sluice_node_abi::{
    keys::FrontendKey,
    maps::{self, Setting},
    values::{Backend, Frontend, Group, Health, Port, Table},
    verdict::Verdict,
};

use super::{MapOpenError, Mapped};
use crate::program::Pins;

type KeyBytes = [u8; size_of::<FrontendKey>()];
type FrontendBytes = [u8; size_of::<Frontend>()];

/// Every map that user space writes or reads.
pub struct Kernel {
    pub frontends: HashMap<MapData, KeyBytes, FrontendBytes>,
    pub ports: Mapped<Port>,
    pub tables: Mapped<Table>,
    pub slots: Mapped<u32>,
    pub groups: Mapped<Group>,
    pub backends: Mapped<Backend>,
    pub counters: Mapped<u64>,
    pub health: Mapped<Health>,
    pub settings: Mapped<u64>,
    pub verdicts: PerCpuArray<MapData, u64>,
}

/// A pinned map that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("map {name}: {source}")]
pub struct OpenError {
    name: &'static str,
    source: MapOpenError,
}

impl Kernel {
    /// Opens what [`Programs::load`](crate::program::Programs::load) pinned.
    pub fn open(pins: &Pins) -> Result<Self, OpenError> {
        Ok(Self {
            frontends: open(pins, maps::FRONTENDS, |map| {
                Ok(HashMap::try_from(Map::HashMap(map))?)
            })?,
            ports: open(pins, maps::PORTS, |map| Mapped::open(&map))?,
            tables: open(pins, maps::TABLES, |map| Mapped::open(&map))?,
            slots: open(pins, maps::SLOTS, |map| Mapped::open(&map))?,
            groups: open(pins, maps::GROUPS, |map| Mapped::open(&map))?,
            backends: open(pins, maps::BACKENDS, |map| Mapped::open(&map))?,
            counters: open(pins, maps::COUNTERS, |map| Mapped::open(&map))?,
            health: open(pins, maps::HEALTH, |map| Mapped::open(&map))?,
            settings: open(pins, maps::SETTINGS, |map| Mapped::open(&map))?,
            verdicts: open(pins, maps::VERDICTS, |map| {
                Ok(PerCpuArray::try_from(Map::PerCpuArray(map))?)
            })?,
        })
    }

    /// How often each verdict was given since the maps were made, over all CPUs.
    pub fn verdicts(&self) -> Result<Vec<(Verdict, u64)>, aya::maps::MapError> {
        let count = |verdict: Verdict| {
            let per_cpu = self.verdicts.get(&(verdict as u32), 0)?;
            Ok((verdict, per_cpu.iter().sum()))
        };
        Verdict::ALL.into_iter().map(count).collect()
    }

    pub fn setting(&self, setting: Setting) -> u64 {
        self.settings.read(setting as u32).unwrap_or_default()
    }
}

fn open<T>(
    pins: &Pins,
    name: &'static str,
    wrap: impl FnOnce(MapData) -> Result<T, MapOpenError>,
) -> Result<T, OpenError> {
    let opened = MapData::from_pin(pins.map(name))
        .map_err(MapOpenError::from)
        .and_then(wrap);
    opened.map_err(|source| OpenError { name, source })
}
